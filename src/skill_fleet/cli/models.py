"""`models list`, `models add`, `models test`; `models` alone lists."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.options import Force, Json, Quiet, globals_of, opened, screen

if TYPE_CHECKING:
    from skill_fleet.config.settings import Phase


class PhaseName(StrEnum):
    """A phase of a run that has a model of its own."""

    profiling = "profiling"
    optimization = "optimization"
    evaluation = "evaluation"
    judge = "judge"


_PHASES: dict[PhaseName, "Phase"] = {
    PhaseName.profiling: "profiling",
    PhaseName.optimization: "optimization",
    PhaseName.evaluation: "evaluation",
    PhaseName.judge: "judge",
}


def alone(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """The models that are registered: list, add, test."""
    if ctx.invoked_subcommand is None:
        list_(ctx, as_json, quiet)
    elif as_json or quiet:
        from skill_fleet.foundation.errors import UsageError

        option = "--json" if as_json else "--quiet"
        raise UsageError(f"{option} stands after the command: skill-fleet models {ctx.invoked_subcommand}.")


def list_(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the registered models, and what uses them."""
    from skill_fleet.cli.show_models import shown_models
    from skill_fleet.services.catalog import list_models

    value = list_models(opened(ctx))
    view = screen(as_json=as_json, quiet=quiet)
    view.data({"models": value}, lambda found: shown_models(found["models"]))


def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is to be called.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER/NAME",
            help="For example openai/gpt-4.1-mini, anthropic/claude-sonnet-4-5, ollama_chat/qwen3, "
            "vllm/NAME, llama_cpp/NAME, lm_studio/NAME, command/claude.",
        ),
    ] = None,
    api_base: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the server; a local one's usual is known.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="Name of the variable that holds the key.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Longest answer.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2, metavar="T", help="Of sampling.")] = None,
    rpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most requests a minute.")] = None,
    tpm: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most tokens a minute.")] = None,
    in_flight: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most calls at once.")] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds for one attempt, below 120.")
    ] = None,
    price_in: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Dollars per million input tokens.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option(min=0, metavar="Y", help="Dollars per million output tokens.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(metavar="LINE", help="A program that reads a prompt and prints an answer: 'claude -p'."),
    ] = None,
    command_env: Annotated[
        list[str] | None, typer.Option(metavar="VAR", help="A variable it gets; repeatable.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default model.")] = False,
    phase: Annotated[
        list[PhaseName] | None,
        typer.Option(
            metavar="PHASE", help="Have profiling, optimization, evaluation or judge use it; repeatable."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Register a model in config/config.yaml.

    What else is in that file stays as it is.
    """
    from skill_fleet.services.models_adding import NewModel, add_model

    words = None if command is None else _words(command)
    entry: dict[str, Any] = {
        "model": _model(model, words),
        "api_base": api_base,
        "api_key_env": api_key_env,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "timeout": timeout,
        "rpm": rpm,
        "tpm": tpm,
        "in_flight": in_flight,
        "price": _price(price_in, price_out),
        "command": words,
        "command_env": command_env or None,
    }
    view = screen(as_json=as_json, quiet=quiet)
    phases = tuple(_PHASES[one] for one in phase or ())
    added = add_model(NewModel(name, entry, default, phases, force), globals_of(ctx).workspace)
    test = globals_of(ctx).command(f"models test {name}")
    value = {
        "name": added.name,
        **added.entry,
        "path": str(added.path),
        "created": added.created,
        "replaced": added.replaced,
        "remarks": list(added.remarks),
        "next": test,
    }
    view.data(value, _told)
    for remark in added.remarks:
        view.note(remark)
    view.note(f"Next: {test}")


def try_out(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Which, or several; default: those that phases use."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that are registered.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make one real call to each model.

    It says whether a model answers, how fast, what that costs, and what its limits are.
    Nothing is retried. Exit code 6 when one does not answer.
    """
    from skill_fleet.cli.show_models import shown_trials
    from skill_fleet.foundation.errors import UsageError
    from skill_fleet.services.models_testing import models_in_use, trial_json, try_models

    if names and every:
        raise UsageError("Names and --all exclude each other.")
    context = opened(ctx)
    chosen = names or (sorted(context.settings.models.registry) if every else models_in_use(context))
    view = screen(as_json=as_json, quiet=quiet)
    trials = [
        trial_json(trial) for trial in try_models(context, chosen, lambda name: view.note(f"Asking {name} …"))
    ]
    ok = all(trial["ok"] for trial in trials)
    view.data({"ok": ok, "models": trials}, lambda value: shown_trials(value["models"]))
    return 0 if ok else 6


def _model(model: str | None, words: list[str] | None) -> str:
    """`provider/name`; a command that is given needs none, and is called as its program."""
    if model is not None:
        return model
    if words:
        return f"command/{'-'.join(words[0].rpartition('/')[2].split())}"
    from skill_fleet.foundation.errors import UsageError

    raise UsageError(
        "Which model: give --model, or --command.", hint="For example --model ollama_chat/qwen3."
    )


def _words(command: str) -> list[str]:
    """The words of a command line; no shell reads it, then or later."""
    import shlex

    from skill_fleet.foundation.errors import UsageError

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command cannot be read: {error}.") from None
    if not words:
        raise UsageError("--command names no program, for example 'claude -p'.")
    return words


def _price(price_in: float | None, price_out: float | None) -> dict[str, float] | None:
    if (price_in is None) != (price_out is None):
        from skill_fleet.foundation.errors import UsageError

        raise UsageError("--price-in and --price-out go together.")
    if price_in is None or price_out is None:
        return None
    return {"input_per_million": price_in, "output_per_million": price_out}


def _told(value: dict[str, Any]) -> Any:
    from skill_fleet.cli.tables import words

    done = "replaced" if value["replaced"] else "added"
    return words(f"{value['name']}: {value['model']} {done} in {value['path']}.")
