"""Our provider against llama.cpp's own server: a random model's words, and a real server's protocol.

What it says means nothing; how it is asked for, counted, cut off, refused and broken off is real.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMError
from real_server import Counted, RealServer

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.calls.engine import AsyncMeteredEngine
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import inner_of

pytestmark = pytest.mark.realserver


@pytest.fixture
def through(rig: Any) -> Callable[..., Any]:
    """The call path over our provider at a real server."""

    def make(server: RealServer, model: str = "openai/random", **options: Any) -> Any:
        given = {"max_tokens": 2000, "temperature": 0.8, "timeout": 30.0, **options.pop("spec", {})}
        spec = ModelSpec(
            model=model,
            api_base=server.url,
            price=PriceOverride(input_per_million=2.0, output_per_million=4.0),
            **given,
        )
        return rig(inner_of(spec, {}), spec=spec, **options)

    return make


def request(text: str) -> Request:
    return Request(model="openai/random", messages=(Message.user(text),))


def words(events: Any) -> list[str]:
    return [event.delta.text for event in events if event.type == "delta" and event.delta.type == "text"]


def attempts(made: Any) -> list[tuple[Any, ...]]:
    query = "select state, reason, possibly_billed from ledger.attempt order by id"
    return made.journal._db.execute(query).fetchall()


def test_answers_are_paid_once_and_the_ledger_is_what_the_server_counted(
    server: RealServer, through: Any
) -> None:
    before = server.counted()
    made = through(server)
    said = [made.lm(f"question {number}")[0] for number in range(5)]
    assert all(said)
    assert [made.lm(f"question {number}")[0] for number in range(5)] == said
    spent = made.spent
    assert server.counted() - before == Counted(spent.input_tokens, spent.output_tokens)
    assert spent.usd == pytest.approx((2 * spent.input_tokens + 4 * spent.output_tokens) / 1e6)
    assert spent.usd_unknown_calls == 0


@pytest.mark.parametrize("way", ["thread", "task"])
def test_a_stream_comes_in_pieces_and_is_the_answer_of_the_journal(
    server: RealServer, through: Any, way: str
) -> None:
    made = through(server)
    before = server.counted()

    async def awaited(asked: Request) -> list[Any]:
        return [event async for event in AsyncMeteredEngine(made.engine).stream(asked)]

    for number in range(8):
        asked = request(f"{way} {number}")
        events = asyncio.run(awaited(asked)) if way == "task" else list(made.engine.stream(asked))
        whole = made.engine.complete(asked)
        assert "".join(words(events)) == whole.message.text
        assert [events[0].type, events[-1].type] == ["start", "end"]
        assert events[-1].usage == whole.usage
        if (whole.usage.output_tokens or 0) > 20:
            assert len(words(events)) > 10
    spent = made.spent
    assert server.counted() - before == Counted(spent.input_tokens, spent.output_tokens)
    assert spent.settled == 8


def test_a_stream_that_is_left_early_is_booked_and_ends_at_the_server_too(
    server: RealServer, through: Any
) -> None:
    made = through(server)
    events = made.engine.stream(request("tell me everything"))
    assert next(events).type == "start"
    events.close()
    assert attempts(made) == [("failed", "abandoned", 1)]
    assert made.lm("and now?")


def test_an_answer_that_is_cut_off_is_no_answer_and_is_billed(server: RealServer, through: Any) -> None:
    before = server.counted()
    made = through(server, spec={"max_tokens": 1}, on_failure="raise")
    with pytest.raises(LMError) as caught:
        made.lm("tell me everything you know about the sea")
    booked = attempts(made)
    assert caught.value.code == booked[-1][1]
    # Now and then it ends at the first token, with nothing said: paid all the same.
    assert ("failed", "truncated", 1) in booked
    assert set(booked) <= {("failed", "truncated", 1), ("failed", "empty", 1)}
    spent = made.spent
    assert server.counted() - before == Counted(spent.input_tokens, spent.output_tokens)


def test_a_context_that_is_too_long_is_asked_once_and_not_billed(server: RealServer, through: Any) -> None:
    made = through(server)
    with pytest.raises(Halt) as caught:
        made.lm("a b " * server.context)
    assert caught.value.error.code == "context_window_exceeded"
    assert attempts(made) == [("failed", "context_window_exceeded", 0)]


def test_a_server_of_one_model_answers_to_any_name(server: RealServer, through: Any) -> None:
    """So a wrong name is not found out there; the journal keeps the names apart all the same."""
    made = through(server, "openai/another")
    assert made.lm("hello")
    assert made.lm.history[-1]["response_model"] in {"random", "another"}


def test_a_seed_of_the_rollout_makes_answers_that_can_be_had_again(
    server: RealServer, through: Any, tmp_path: Path
) -> None:
    from skill_fleet.llm.journal.journal import Journal

    first = through(server)
    said = {rollout: first.lm("name a colour", rollout_id=rollout)[0] for rollout in range(4)}
    assert len(set(said.values())) == 4
    other = Journal(tmp_path / "other" / "ledger.sqlite", tmp_path / "other" / "responses.sqlite")
    second = through(server, store=other)
    again = {rollout: second.lm("name a colour", rollout_id=rollout)[0] for rollout in range(4)}
    assert second.spent.calls == 4, "they were asked for again"
    other.close()
    assert again == said


def test_many_at_once_wait_for_each_other_and_lose_nothing(server: RealServer, through: Any) -> None:
    before = server.counted()
    made = through(server)
    asked = [f"item {number}" for number in range(32)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: made.lm(text)[0], asked))
    assert all(answers)
    assert len(set(answers)) > 24
    spent = made.spent
    assert spent.settled == 32
    assert server.counted() - before == Counted(spent.input_tokens, spent.output_tokens)


def test_a_server_that_hangs_is_a_time_out_that_may_have_been_billed(own_server: Any, through: Any) -> None:
    server = own_server(slots=1)
    made = through(server, spec={"timeout": 0.5}, on_failure="raise")
    server.freeze()
    with pytest.raises(LMError):
        made.lm("hello")
    booked = attempts(made)
    server.thaw()
    assert {(state, billed) for state, _, billed in booked} == {("failed", 1)}
    assert through(server).lm("hello")


def test_a_server_that_is_killed_stops_the_run_and_one_that_is_back_goes_on(
    own_server: Any, through: Any
) -> None:
    server = own_server()
    made = through(server)
    first = made.lm("before")
    server.freeze()
    with ThreadPoolExecutor(2) as pool:
        under_way = pool.submit(made.lm, "in the middle")
        while made.spent.calls < 2:
            pass
        server.go_away()
        with pytest.raises(Halt) as caught:
            under_way.result()
    assert (caught.value.cause, caught.value.error.exit_code) == ("provider", 6)
    refused = [billed for state, reason, billed in attempts(made) if state == "failed"]
    assert refused[-1] == 0, "a refused connection costs nothing"
    back = server.again()
    try:
        later = through(back)
        assert later.lm("before") == first, "from the journal"
        assert later.lm("in the middle")
    finally:
        back.kill()


@pytest.mark.parametrize(
    ("body", "status"),
    [(b'{"model": "random", "messages": [{"role', 400), (b'{"model": "random"}', 400), (b"[]", 400)],
)
def test_how_the_server_refuses_a_raw_request(server: RealServer, body: bytes, status: int) -> None:
    """The form of its errors, which our reading of them rests on."""
    answered, said = server.ask("POST", "/v1/chat/completions", body)
    assert answered == status
    assert json.loads(said)["error"]["message"]
    assert server.process.poll() is None
