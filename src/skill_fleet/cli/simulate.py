"""`simulate-provider`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.options import Json, Quiet
from skill_fleet.cli.screen import Screen
from skill_fleet.foundation.errors import KeyMissing, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skill_fleet.simulator import Price, Simulator, SimulatorSettings

_OFFLINE = "offline/rules-v1"


def simulate_provider(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")] = 0,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Which requests meet faults, and how long each takes.")
    ] = 0,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Served: {_OFFLINE}, {_OFFLINE}-s1, simulated/ANY; repeatable."),
    ] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers and faults by prompt: JSON or YAML.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RATE", help="Share of requests that meet a fault; repeatable."),
    ] = None,
    in_a_row: Annotated[
        int, typer.Option(min=0, metavar="N", help="Most faults one request meets in a row.")
    ] = 4,
    hang_seconds: Annotated[float, typer.Option(metavar="S", help="How long a hang lasts at most.")] = 600.0,
    slow_seconds: Annotated[
        float, typer.Option(metavar="S", help="How late, how slowly slow answers come.")
    ] = 1.0,
    rps: Annotated[float | None, typer.Option(metavar="R", help="Requests a second.")] = None,
    rpm: Annotated[float | None, typer.Option(metavar="N", help="Requests a minute.")] = None,
    burst: Annotated[
        int | None,
        typer.Option(metavar="N", help="Requests at once after a rest; default: a second's worth."),
    ] = None,
    window: Annotated[
        float | None, typer.Option(metavar="S", help="A sliding window of so many seconds instead of bursts.")
    ] = None,
    tpm: Annotated[int | None, typer.Option(metavar="N", help="Tokens a minute.")] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(metavar="N", help="Requests under way at once.")
    ] = None,
    retry_after: Annotated[
        float | None,
        typer.Option(metavar="S", help="What 429 and 503 ask to wait; default: until there is room."),
    ] = None,
    retry_header: Annotated[bool, typer.Option(help="Whether 429 and 503 say how long to wait.")] = True,
    rate_headers: Annotated[bool, typer.Option(help="Whether answers carry x-ratelimit-*.")] = True,
    latency: Annotated[float, typer.Option(metavar="SECONDS", help="Median time of an answer.")] = 0.0,
    latency_sigma: Annotated[float, typer.Option(metavar="S", help="Its spread, log-normal.")] = 0.5,
    die_after: Annotated[
        int | None, typer.Option(metavar="N", help="Reset every request after so many.")
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="Dollars for a million tokens of prompt and of answer."),
    ] = None,
    bill_errors: Annotated[bool, typer.Option("--bill-errors", help="Bill refusals and errors too.")] = False,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Variable with the key that clients must send.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A line of JSON for each request.")
    ] = None,
    max_requests: Annotated[int | None, typer.Option(metavar="N", help="End after so many requests.")] = None,
    max_seconds: Annotated[float | None, typer.Option(metavar="S", help="End after so many seconds.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve a provider with limits and faults, and no model.

    It speaks as OpenAI does, until Ctrl-C.

    The offline model, or a script, answers. It prints its address (with --json as an object with `url`), and
    its totals when it ends.

    Faults: rate_limit, quota, auth, context, not_found, server_error, bad_gateway, unavailable, hang, reset,
    truncated, malformed, empty, blank, length, content_filter, no_usage, slow_first_byte, drip.
    """
    from skill_fleet.simulator import Faults, Limits, Simulator, SimulatorSettings
    from skill_fleet.simulator.script import read_script

    settings = SimulatorSettings(
        host=host,
        port=port,
        seed=seed,
        models=tuple(model or [_OFFLINE]),
        script=() if script is None else read_script(script),
        faults=Faults(_rates(fault or []), in_a_row, hang_seconds, slow_seconds),
        limits=Limits(rps, rpm, burst, window, tpm, max_in_flight, retry_after, retry_header, rate_headers),
        latency=latency,
        latency_sigma=latency_sigma,
        die_after=die_after,
        price=_price(price),
        bill_errors=bill_errors,
        api_key=_key(api_key_env),
        ledger=ledger,
        max_requests=max_requests,
        max_seconds=max_seconds,
    )
    _serve(Simulator(settings), settings, Screen(as_json=as_json, quiet=quiet))


def _rates(written: list[str]) -> dict[str, float]:
    rates: dict[str, float] = {}
    for each in written:
        written_name, mark, rate = each.partition("=")
        name = written_name.strip()
        if name in rates:
            raise UsageError(f"--fault {name} is given twice.", hint="Give each fault one rate.")
        try:
            rates[name] = float(rate)
        except ValueError:
            what = f"'{rate}' is no number" if mark else "there is no rate"
            raise UsageError(
                f"--fault {each}: {what}.", hint="Write it as --fault server_error=0.1."
            ) from None
    return rates


def _price(written: str | None) -> "Price | None":
    from skill_fleet.simulator import Price

    if written is None:
        return None
    try:
        prompt, completion = map(float, written.split(","))
    except ValueError:
        raise UsageError(
            f"--price {written} is not two numbers.", hint="Write it as --price 0.15,0.60."
        ) from None
    return Price(prompt, completion)


def _key(name: str | None) -> str | None:
    from skill_fleet.config.load import environment
    from skill_fleet.llm.providers.keys import key_in

    if name is None:
        return None
    key = key_in(name, environment())
    if not key:
        raise KeyMissing(f"The environment variable {name} is empty.", hint=f"export {name}=…")
    return key


def _serve(simulator: "Simulator", settings: "SimulatorSettings", view: Screen) -> None:
    import os

    if simulator.reached_by_others:
        view.warn(f"Other machines can reach it: it listens at {settings.host}.")

    def ready() -> None:
        if view.as_json:
            said = {"url": simulator.url, "models": list(settings.models), "pid": os.getpid()}
            view.lines([said | {"simulated": True}])
            return
        view.note(f"Simulated provider at {simulator.url}: no language model, rules answer.")
        view.note(f"As a model: openai/{settings.models[0]} with api_base {simulator.url}. Ctrl-C ends it.")

    with _told_to_stop(simulator.stop):
        simulator.serve(ready)
    view.data(simulator.ledger.totals().to_json() | {"simulated": True}, _shown)


@contextmanager
def _told_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end it as it should end: with its totals."""
    import signal

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _shown(totals: dict[str, Any]) -> "RenderableType":
    from skill_fleet.cli.tables import facts

    faults = ", ".join(f"{name} {count}" for name, count in totals["by_fault"].items() if name != "limit")
    billed = f"{totals['billed_prompt_tokens']:,} + {totals['billed_completion_tokens']:,} tokens"
    usd = totals["billed_usd"]
    billed += "; no --price, so no dollars" if usd is None else f", ${usd:.6f}"
    return facts(
        [
            ("requests", f"{totals['requests']:,}"),
            ("answered", f"{totals['answered']:,}"),
            ("over the limits", f"{totals['rejected']:,}"),
            ("faults", faults or "none"),
            ("most in flight", totals["most_in_flight"]),
            ("billed", billed),
            ("billed without an answer", f"{totals['billed_without_answer']:,}"),
        ]
    )
