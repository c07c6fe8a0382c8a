"""Streams over HTTP, from a simulated provider that is slow, breaks off, forgets the usage or cuts short."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dspy
import pytest
from dspy.lm15 import Config, Message, Request
from dspy.utils.exceptions import LMError

from skill_fleet.config.settings import Calls, ModelSpec, PriceOverride
from skill_fleet.core.dspy.signatures import GenerateSkillContent
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Retry
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.simulator import Faults, SimulatorSettings, running


def request(number: int = 0) -> Request:
    """As DSPy asks for a skill, so that the offline model has much to say."""
    inputs = {
        "skill_metadata": '{"name": "helm-rollback", "description": "Rolls back Helm releases."}',
        "content_plan": "Overview\nSteps",
        "generation_instructions": f"Task: Roll back a failed Helm release, case {number}",
    }
    system, asked = dspy.ChatAdapter().format(GenerateSkillContent, [], inputs)
    return Request(
        model="openai/offline/rules-v1",
        system=system["content"],
        messages=(Message.user(asked["content"]),),
    )


@pytest.fixture(params=["thread", "task"])
def read(request: pytest.FixtureRequest) -> Callable[..., list[Any]]:
    """Reads a stream, by the engine or by its twin; `into` keeps what came before an error."""

    def stream(made: Any, asked: Request, into: list[Any] | None = None) -> list[Any]:
        events: list[Any] = [] if into is None else into

        async def all_of_it() -> None:
            async for event in AsyncMeteredEngine(made.engine).stream(asked):
                events.append(event)  # noqa: PERF401 - kept also where it breaks off

        if request.param == "task":
            asyncio.run(all_of_it())
        else:
            for event in made.engine.stream(asked):
                events.append(event)  # noqa: PERF402
        return events

    return stream


@pytest.fixture
def through(rig: Any) -> Any:
    """The call path, limiter and all, to a simulated provider."""
    opened: list[Provider] = []

    def make(server: Any, *, timeout: float = 20.0, **options: Any) -> Any:
        spec = ModelSpec(
            model="openai/offline/rules-v1",
            api_base=server.url,
            timeout=timeout,
            max_tokens=3000,
            price=PriceOverride(input_per_million=1, output_per_million=1),
        )
        limiter = Limiter(SYSTEM_CLOCK, longest_pause=0.2, outage_seconds=Calls().outage_seconds)
        opened.append(Provider(spec, {}))
        retry = options.pop("retry", Retry(base=0.01, longest=0.02))
        return rig(opened[-1], spec=spec, limiter=limiter, retry=retry, on_failure="raise", **options)

    yield make
    for provider in opened:
        provider.close()


def words(events: list[Any]) -> str:
    return "".join(e.delta.text for e in events if e.type == "delta" and e.delta.type == "text")


def attempts(made: Any) -> list[tuple[Any, ...]]:
    query = "select state, reason, possibly_billed from ledger.attempt order by id"
    return made.journal._db.execute(query).fetchall()


def at_rest(made: Any) -> bool:
    return (
        made.account._under_way.total() == 0
        and not made.line.flights
        and made.engine.limiter.state().in_flight == 0
    )


def slowly(seconds: float, **more: float) -> SimulatorSettings:
    return SimulatorSettings(faults=Faults({"drip": 1.0, **more}, slow_seconds=seconds))


def test_a_stream_and_a_whole_answer_are_the_same_answer_to_the_last_field(
    read: Any, through: Any, tmp_path: Any
) -> None:
    from skill_fleet.llm.journal.journal import Journal

    with running(SimulatorSettings()) as server:
        made = through(server)
        events = read(made, request())
        apart = Journal(tmp_path / "l.sqlite", tmp_path / "r.sqlite")
        whole = through(server, store=apart)
        whole.engine.complete(request())
        assert server.totals().requests == 2
    key = made.engine.keyed(request())[1]
    bodies = [json.loads(store.lookup(key)) for store in (made.journal, apart)]
    raw = [body.pop("provider_data") for body in bodies]  # the frame with the usage; the whole body
    assert all(raw)
    for body in bodies:
        body.pop("id", None)  # of the one request
    assert bodies[0] == bodies[1]
    assert words(events) == made.engine.complete(request()).message.text
    assert len(words(events)) > 1000
    assert (made.spent.input_tokens, made.spent.usd) == (whole.spent.input_tokens, whole.spent.usd)
    apart.close()


def test_the_time_out_holds_for_all_of_a_stream(read: Any, through: Any) -> None:
    """However often a byte comes."""
    with running(slowly(60.0)) as server:
        made = through(server, timeout=2.0)
        events: list[Any] = []
        begun = time.monotonic()
        with pytest.raises(LMError) as caught:
            read(made, request(), events)
        assert time.monotonic() - begun < 40
        assert caught.value.code == "timeout"
        assert words(events), "some of it was there"
        assert attempts(made) == [("failed", "timeout", 1)]
        assert at_rest(made)
        assert server.totals().requests == 1


@pytest.mark.parametrize(
    ("fault", "billed"),
    [
        ("rate_limit", 0),
        ("server_error", 1),
        ("unavailable", 1),
        ("reset", 1),
        ("empty", 1),
    ],
)
def test_what_fails_before_the_first_word_is_asked_again(
    read: Any, through: Any, fault: str, billed: int
) -> None:
    with running(SimulatorSettings(faults=Faults({fault: 1.0}, in_a_row=1))) as server:
        made = through(server)
        assert len(words(read(made, request()))) > 1000
        states = [(state, mark) for state, _, mark in attempts(made)]
        assert states[-1] == ("settled", 0)
        assert states[:-1]
        assert set(states[:-1]) == {("failed", billed)}
        assert server.totals().requests == len(states)
        assert at_rest(made)


@pytest.mark.parametrize("fault", ["truncated", "malformed"])
def test_what_breaks_off_among_its_words_is_told_and_booked(read: Any, through: Any, fault: str) -> None:
    with running(SimulatorSettings(faults=Faults({fault: 1.0}, in_a_row=1))) as server:
        made = through(server)
        events: list[Any] = []
        with pytest.raises(LMError):
            read(made, request(), events)
        assert words(events)
        assert [(state, mark) for state, _, mark in attempts(made)] == [("failed", 1)]
        assert server.totals().requests == 1
        shown = words(events)
        assert words(read(made, request())).startswith(shown)
        assert at_rest(made)


def test_a_stream_without_usage_is_of_unknown_cost(read: Any, through: Any) -> None:
    with running(SimulatorSettings(faults=Faults({"no_usage": 1.0}, in_a_row=99))) as server:
        made = through(server)
        assert words(read(made, request()))
    assert (made.spent.settled, made.spent.usd_unknown_calls) == (1, 1)


def test_a_stream_that_was_cut_short_is_billed_as_the_server_bills_it(read: Any, through: Any) -> None:
    with running(SimulatorSettings()) as server:
        made = through(server)
        with pytest.raises(LMError) as caught:
            read(made, replace(request(), config=Config(max_tokens=20)))
        totals = server.totals()
    assert caught.value.code == "truncated"
    assert attempts(made) == [("failed", "truncated", 1)]
    spent = made.spent
    billed = (totals.billed_prompt_tokens, totals.billed_completion_tokens)
    assert (spent.input_tokens, spent.output_tokens) == billed


def test_who_leaves_hangs_up_and_gives_back_what_was_held(through: Any) -> None:
    with running(slowly(4.0)) as server:
        made = through(server)
        stream = made.engine.stream(request())
        assert next(stream).type == "start"
        assert made.engine.limiter.state().in_flight == 1
        stream.close()
        assert at_rest(made)
        assert attempts(made) == [("failed", "abandoned", 1)]

        async def leave() -> None:
            async for _ in (events := AsyncMeteredEngine(made.engine).stream(request(1))):
                break
            await events.aclose()

        asyncio.run(leave())
        assert at_rest(made)
        until = time.monotonic() + 60
        while server.totals().most_in_flight and any(one.delivered is None for one in server.records()):
            assert time.monotonic() < until, "the server still sends"
            time.sleep(0.02)
        assert [one.delivered for one in server.records()] == [False, False]


def test_many_streams_at_once_keep_the_bill_exact(through: Any) -> None:
    async def all_of_them(made: Any) -> list[str]:
        twin = AsyncMeteredEngine(made.engine)

        async def one(number: int) -> str:
            return words([event async for event in twin.stream(request(number))])

        return await asyncio.gather(*(one(number) for number in range(20)))

    rates = {"server_error": 0.1, "reset": 0.1, "empty": 0.1}
    with running(SimulatorSettings(faults=Faults(rates, in_a_row=3))) as server:
        made = through(server)
        answers = asyncio.run(all_of_them(made))
        totals = server.totals()
    assert len(set(answers)) == 20
    assert made.spent.calls == totals.requests
    assert made.spent.settled == 20
    assert at_rest(made)
