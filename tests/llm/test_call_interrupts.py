"""An interrupt may come anywhere in a call: it is booked once, nothing stays set aside, nobody is held up."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dspy.lm15 import Message, Request

from clocks import soon
from skill_fleet.llm.budget import Account, Limits, Worst
from skill_fleet.llm.calls.engine import AsyncMeteredEngine
from skill_fleet.llm.calls.line import Line
from skill_fleet.llm.calls.meter import Meter
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.testing import ScriptedModel
from streaming_models import WordByWord


class Torn(BaseException):
    """As a KeyboardInterrupt; but an event loop does not end with it."""


def request(text: str = "asked") -> Request:
    return Request(model="offline/scripted", messages=(Message.user(text),))


async def read(made: Any) -> str:
    events = [event async for event in AsyncMeteredEngine(made.engine).stream(request())]
    return "".join(event.delta.text for event in events if event.type == "delta")


def whole(made: Any) -> str:
    return "".join(event.delta.text for event in made.engine.stream(request()) if event.type == "delta")


WAYS: dict[str, Callable[[Any], Any]] = {
    "complete": lambda made: made.engine.complete(request()).message.text,
    "stream": whole,
    "acomplete": lambda made: asyncio.run(AsyncMeteredEngine(made.engine).complete(request())).message.text,
    "astream": lambda made: asyncio.run(read(made)),
}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return WAYS[request.param]


@pytest.fixture
def torn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes the next call of a method end with an interrupt, before what it does or after that."""

    def tear(owner: type, name: str, *, after: bool) -> None:
        original = getattr(owner, name)

        def once(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr(owner, name, original)
            if after:
                original(*args, **options)
            raise Torn

        monkeypatch.setattr(owner, name, once)

    return tear


def set_aside(made: Any) -> tuple[Any, ...]:
    """What the account has reserved, and for how many calls."""
    reserved = made.account._reserved
    return reserved.tokens, reserved.usd, dict(made.account._under_way)


BEFORE_IT_IS_SENT = [
    (Journal, "open_attempt", False),
    (Journal, "open_attempt", True),
]
AFTER_IT_IS_BOOKED = [(Account, "settle", True), (Meter, "given", False)]


@pytest.mark.parametrize(("owner", "name", "after"), BEFORE_IT_IS_SENT)
def test_what_was_not_sent_is_given_back(
    rig: Any, torn: Any, ask: Any, owner: Any, name: str, after: bool
) -> None:
    made = rig(ScriptedModel(answer=lambda _: "An answer."), limits=Limits(tokens=10**6))
    torn(owner, name, after=after)
    with pytest.raises(Torn):
        ask(made)
    assert set_aside(made) == (0, 0.0, {})
    assert made.account._spent.tokens == 0
    assert ask(made) == "An answer."


@pytest.mark.parametrize(("owner", "name", "after"), AFTER_IT_IS_BOOKED)
def test_what_is_booked_is_not_booked_again(
    rig: Any, torn: Any, ask: Any, owner: Any, name: str, after: bool
) -> None:
    made = rig(ScriptedModel(answer=lambda _: "An answer."), limits=Limits(tokens=10**6))
    torn(owner, name, after=after)
    with pytest.raises(Torn):
        ask(made)
    assert set_aside(made) == (0, 0.0, {})
    spent = made.spent
    assert made.account._spent.tokens == spent.input_tokens + spent.output_tokens
    assert (spent.settled, spent.failed) == (1, 0)
    assert ask(made) == "An answer."
    assert made.model.attempts == 1


def test_what_an_answer_of_no_use_cost_stays_booked(rig: Any, torn: Any, ask: Any) -> None:
    made = rig(ScriptedModel(answer=lambda _: ""), limits=Limits(tokens=10**6))
    torn(Journal, "fail", after=True)
    with pytest.raises(Torn):
        ask(made)
    assert set_aside(made) == (0, 0.0, {})
    ((reason, tokens),) = made.journal._db.execute(
        "select reason, input_tokens from ledger.attempt"
    ).fetchall()
    assert reason == "empty"
    assert tokens > 0


@pytest.mark.parametrize(("name", "after"), [("claim", False), ("claim", True), ("land", True)])
def test_nobody_waits_for_a_call_that_an_interrupt_ended(
    rig: Any, torn: Any, ask: Any, name: str, after: bool
) -> None:
    made = rig(ScriptedModel(answer=lambda _: "An answer."))
    torn(Line, name, after=after)
    with pytest.raises(Torn):
        ask(made)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask, made).result(30) == "An answer."
    assert made.model.attempts == 1


def test_an_interrupt_of_who_waits_ends_no_other_call(rig: Any, torn: Any, ask: Any) -> None:
    go_on = threading.Event()
    made = rig(ScriptedModel(answer=lambda _: "An answer.", fault=lambda *_: go_on.wait(30)))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(made.engine.complete, request())
        soon(lambda: made.model.in_flight)
        torn(Line, "_over", after=True)
        with pytest.raises(Torn):
            ask(made)
        waiting = pool.submit(ask, made)
        (flight,) = made.line.flights.values()
        soon(lambda: flight.landing)
        go_on.set()
        assert first.result(30).message.text == "An answer." == waiting.result(30)
    assert made.model.attempts == 1


def test_who_waits_looks_whether_it_is_still_under_way(rig: Any, ask: Any) -> None:
    """An interrupt came when the call had landed, and before those who wait were told."""
    go_on = threading.Event()
    made = rig(ScriptedModel(answer=lambda _: "An answer.", fault=lambda *_: go_on.wait(30)))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(made.engine.complete, request())
        soon(lambda: made.line.flights)
        (flight,) = made.line.flights.values()
        waiting = pool.submit(ask, made)
        soon(lambda: flight.landing)
        flight.landing = None  # nobody will be told
        go_on.set()
        assert first.result(30).message.text == "An answer." == waiting.result(30)
    assert made.model.attempts == 1


def test_who_waits_for_an_equal_call_ends_with_the_run(rig: Any, ask: Any) -> None:
    go_on = threading.Event()
    made = rig(ScriptedModel(answer=lambda _: "An answer.", fault=lambda *_: go_on.wait(30)))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(made.engine.complete, request())
        soon(lambda: made.line.flights)
        (flight,) = made.line.flights.values()
        waiting = pool.submit(ask, made)
        soon(lambda: flight.landing)
        made.gate.interrupt()
        with pytest.raises(Halt) as caught:
            waiting.result(30)
        assert caught.value.cause == "interrupted"
        assert not first.done(), "a call under way ends, as any does"
        go_on.set()
        assert first.result(30).message.text == "An answer."


def test_a_stream_that_ends_in_another_thread_leaves_none_of_them_with_a_call(rig: Any) -> None:
    made = rig(WordByWord(answer=lambda _: "One two three."), limits=Limits(tokens=100_000))
    stream = made.engine.stream(request())
    next(stream)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    reader.join(30)
    assert set_aside(made) == (0, 0.0, {})


def test_so_its_thread_waits_for_room_that_is_only_set_aside(rig: Any) -> None:
    made = rig(WordByWord(answer=lambda _: "One two three."), limits=Limits(tokens=100_000))
    stream = made.engine.stream(request())
    next(stream)
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: list(stream)).result(30)
        big = Worst(60_000, None)
        thread = other.submit(made.gate.enter, big).result(30)
        timer = threading.Timer(0.1, made.account.settle, (big, 10, 0.0, thread))
        timer.start()
        assert made.gate.enter(big) == threading.get_ident()
    assert made.gate.closed is None
