"""A stream that its reader leaves alone keeps nobody waiting: first call, place in flight, probe."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMInvalidRequestError

from clocks import time_goes_by_until
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Retry
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.prefetch.turnstile import Turnstile
from streaming_models import WordByWord

SAID = "One two three."


def request(text: str) -> Request:
    return Request(model="offline/scripted", messages=(Message.user(text),))


def text_of(events: list[Any]) -> str:
    return "".join(event.delta.text for event in events if event.type == "delta")


class Reader:
    """Reads a stream piece by piece, in a thread or in a task of a loop of its own."""

    def __init__(self, made: Any, *, awaited: bool) -> None:
        self._loop = asyncio.new_event_loop() if awaited else None
        asked = request("read slowly")
        self._stream: Any = (
            AsyncMeteredEngine(made.engine).stream(asked) if awaited else made.engine.stream(asked)
        )

    def next(self) -> Any:
        return (
            next(self._stream) if self._loop is None else self._loop.run_until_complete(anext(self._stream))
        )

    def rest(self) -> list[Any]:
        async def all_of_it() -> list[Any]:
            return [event async for event in self._stream]

        return list(self._stream) if self._loop is None else self._loop.run_until_complete(all_of_it())

    def close(self) -> None:
        if self._loop is None:
            self._stream.close()
        else:
            self._loop.run_until_complete(self._stream.aclose())
            self._loop.close()


@pytest.fixture(params=["thread", "task"])
def read(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Reader]]:
    opened: list[Reader] = []

    def make(made: Any) -> Reader:
        opened.append(Reader(made, awaited=request.param == "task"))
        return opened[-1]

    yield make
    for reader in opened:
        reader.close()


WAYS: dict[str, Callable[[Any], Any]] = {
    "complete": lambda made: made.engine.complete(request("other")).message.text,
    "acomplete": lambda made: (
        asyncio.run(AsyncMeteredEngine(made.engine).complete(request("other"))).message.text
    ),
}


def limiter() -> Limiter:
    return Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)


def model() -> WordByWord:
    return WordByWord(answer=lambda _: SAID)


@pytest.mark.parametrize("way", WAYS)
def test_the_first_piece_is_what_the_first_call_goes_ahead_for(rig: Any, read: Any, way: str) -> None:
    made = rig(model(), limiter=limiter())
    reader = read(made)
    reader.next()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(WAYS[way], made).result(60) == SAID
    reader.rest()
    assert made.spent.settled == 2


def test_a_task_may_ask_while_it_reads_its_first_stream(rig: Any) -> None:
    made = rig(model(), limiter=limiter())

    async def scene() -> list[str]:
        twin = AsyncMeteredEngine(made.engine)
        answers: list[Any] = []
        async for event in twin.stream(request("outer")):
            if event.type == "delta":
                inside = await twin.complete(request(f"inside {len(answers)}"))
                answers.append(inside.message.text)
        return answers

    assert asyncio.run(asyncio.wait_for(scene(), 60)) == [SAID] * 3


@pytest.mark.parametrize("way", WAYS)
def test_what_it_holds_in_flight_is_given_back_when_nobody_reads_on(rig: Any, read: Any, way: str) -> None:
    spec = ModelSpec(model="offline/scripted", in_flight=1)
    made = rig(model(), spec=spec, limiter=limiter())
    reader = read(made)
    reader.next()
    reader.next()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(WAYS[way], made)
        with pytest.raises(TimeoutError):
            other.result(0.4)
        assert made.model.attempts == 1, "a reader may take a moment"
        assert time_goes_by_until(other, made.clock, 6) == SAID
    assert text_of(reader.rest()) == SAID.removeprefix("One")
    assert made.spent.settled == 2, "it was booked when it really ended"
    assert made.engine.limiter.state().in_flight == 0


@pytest.mark.parametrize("way", WAYS)
def test_so_is_its_place(rig: Any, read: Any, way: str) -> None:
    made = rig(model())
    made.engine.place = turnstile = Turnstile(1, lambda: None)
    reader = read(made)
    reader.next()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(WAYS[way], made)
        with pytest.raises(TimeoutError):
            other.result(0.4)
        assert time_goes_by_until(other, made.clock, 6) == SAID
    reader.rest()
    assert turnstile.free == 1, "and it is not given back twice"


def test_the_first_piece_is_a_probes_answer(rig: Any, read: Any) -> None:
    made = rig(model(), limiter=limiter())
    made.engine.complete(request("warm"))
    core = made.engine.limiter._core
    core.breaker.refused(SYSTEM_CLOCK.monotonic(), "another model", RuntimeError(), probe=False)
    assert made.engine.limiter.state().breaker == "open"
    reader = read(made)
    reader.next()
    assert made.engine.limiter.state().breaker == "closed"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(WAYS["complete"], made).result(60) == SAID
    reader.rest()


def test_a_stream_that_breaks_after_its_first_piece_is_a_failure_like_any_other(rig: Any) -> None:
    one = limiter()
    ticket = one.admit(rig(model()).engine.quota, 1, lambda: False)
    assert ticket is not None
    ticket.begun()
    ticket.failed(Failure("transport", "retry", sent=True))
    ticket.begun()
    assert one.state().in_flight == 0


def test_tasks_that_wait_for_the_first_call_are_woken_and_do_not_poll(rig: Any) -> None:
    made = rig(ScriptedModel(answer=lambda _: SAID, latency=0.5), limiter=limiter())
    looks = [0]
    shut = made.gate.shut

    def counted() -> bool:
        looks[0] += 1
        return bool(shut())

    made.gate.shut = counted

    async def all_of_them() -> None:
        twin = AsyncMeteredEngine(made.engine)
        await asyncio.gather(*(twin.complete(request(str(n))) for n in range(20)))

    began = time.monotonic()
    asyncio.run(all_of_them())
    took = time.monotonic() - began
    assert looks[0] < 20 * 30 * took, "every 10 ms it would be 2,000 looks in a second"


@pytest.mark.parametrize("awaited", [False, True])
def test_when_the_first_call_is_refused_the_next_one_goes_alone_too(rig: Any, *, awaited: bool) -> None:
    """Also behind another gate, which does not close with that of the first."""

    at_once: list[int] = []

    def refuses(number: int, _: Any) -> None:
        at_once.append(scripted.in_flight)
        time.sleep(0.05)
        if number <= 2:
            raise LMInvalidRequestError("no such field")

    scripted = ScriptedModel(answer=lambda _: SAID, fault=refuses, latency=0.05)
    limits = limiter()
    first = rig(scripted, limiter=limits, retry=Retry(base=0.0))
    gates = [rig(scripted, line=first.line, limiter=limits) for _ in range(6)]

    def ask(made: Any) -> str:
        try:
            if awaited:
                twin = AsyncMeteredEngine(made.engine)
                return asyncio.run(twin.complete(request(str(id(made))))).message.text or ""
            return made.engine.complete(request(str(id(made)))).message.text or ""
        except Halt:
            return "halted"

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, gates))
    assert sorted(answers) == sorted(["halted"] * 2 + [SAID] * 4)
    assert at_once[:3] == [1, 1, 1]


def test_places_go_to_who_waits_longest_and_to_nobody_who_has_left() -> None:
    paid: list[str] = []
    turnstile = Turnstile(1, lambda: paid.append(threading.current_thread().name))
    turnstile.acquire()

    async def scene() -> None:
        gone = asyncio.create_task(turnstile.aacquire())
        kept = asyncio.create_task(turnstile.aacquire())
        await asyncio.sleep(0.05)
        assert len(paid) == 1, "told when the place is got, and not before"
        gone.cancel()
        await asyncio.wait({gone})
        turnstile.release()
        await asyncio.wait_for(kept, 60)
        assert len(paid) == 2
        late = asyncio.create_task(turnstile.aacquire())
        await asyncio.sleep(0.02)
        turnstile.release()  # given, and cancelled before it is taken
        late.cancel()
        await asyncio.wait({late})

    asyncio.run(scene())
    deadline = time.monotonic() + 60
    while turnstile.free != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert turnstile.free == 1
