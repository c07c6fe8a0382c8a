"""A sync call in the thread of an event loop that would wait for the tasks of that very loop is refused."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from leaping_clock import LeapingClock
from meeting_models import Meeting
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Call, Place, Quota
from skill_fleet.llm.limits.limiter import Broken, Limiter, Ticket
from skill_fleet.llm.limits.own_loop import STREAM_SECONDS, stands_still

NARROW = Quota("m", in_flight=1)
DOWN = Failure("server", "retry", sent=True)
ERROR = ProviderError("It is down.")
HERE, ELSEWHERE = object(), object()


def limiter(clock: Clock = SYSTEM_CLOCK) -> Limiter:
    return Limiter(clock, longest_pause=60.0, outage_seconds=120.0)


def within(seconds: float) -> Callable[[], bool]:
    """Says after so long that to wait has no use: what hung before fails soon."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def admitted(shared: Limiter, quota: Quota, seconds: float = 10.0) -> Ticket:
    ticket = shared.admit(quota, 1, within(seconds))
    assert ticket is not None, "it waited in vain"
    return ticket


async def awaited(shared: Limiter, quota: Quota) -> Ticket:
    ticket = await shared.aadmit(quota, 1, within(10.0))
    assert ticket is not None
    return ticket


def test_the_only_call_that_is_allowed_is_a_task_s_of_the_same_loop() -> None:
    shared = limiter()

    async def main() -> None:
        held = await awaited(shared, NARROW)
        with pytest.raises(Broken) as refused:
            admitted(shared, NARROW)
        assert "m would wait for ever" in refused.value.error.message
        assert "asyncio.to_thread" in refused.value.error.hint
        assert (shared.state().in_flight, shared.state().waiting) == (1, 0)
        in_a_thread = asyncio.create_task(asyncio.to_thread(admitted, shared, NARROW))
        await asyncio.sleep(0.3)
        assert not in_a_thread.done()
        held.answered(1)
        (await in_a_thread).answered(1)
        admitted(shared, NARROW).answered(1)

    asyncio.run(main())
    assert (shared.state().in_flight, shared.state().waiting) == (0, 0)


def test_a_call_of_another_thread_among_them_is_waited_for() -> None:
    shared, two = limiter(), Quota("m", in_flight=2)
    threads_own = admitted(shared, two)

    async def main() -> None:
        held = await awaited(shared, two)
        timer = threading.Timer(0.3, threads_own.answered, (1,))
        timer.start()
        admitted(shared, two).answered(1)
        held.answered(1)
        timer.join()

    asyncio.run(main())
    assert shared.state().in_flight == 0


def test_leave_that_a_task_of_the_same_loop_has_not_taken_is_passed_on() -> None:
    shared = limiter()
    held = admitted(shared, NARROW)

    async def call() -> None:
        (await awaited(shared, NARROW)).answered(1)

    async def main() -> None:
        task = asyncio.create_task(call())
        await asyncio.sleep(0.02)
        held.answered(1)  # the task is let go, and cannot know it
        admitted(shared, NARROW).answered(1)
        await task

    asyncio.run(main())
    assert (shared.state().in_flight, shared.state().waiting) == (0, 0)


def test_a_stream_that_its_reader_leaves_alone_is_waited_for_and_another_not_for_ever() -> None:
    clock = LeapingClock()
    shared = limiter(clock)

    async def main() -> None:
        read = await awaited(shared, NARROW)
        read.begun()
        left_alone = threading.Timer(0.3, read.dropped)
        left_alone.start()
        stream = admitted(shared, NARROW)
        left_alone.join()
        stream.dropped()
        stream = await awaited(shared, NARROW)
        stream.begun()
        later = threading.Timer(0.3, lambda: setattr(clock, "ahead", STREAM_SECONDS))
        later.start()
        with pytest.raises(Broken, match="would wait for ever"):
            admitted(shared, NARROW)
        later.join()
        stream.answered(1)

    asyncio.run(main())
    assert (shared.state().in_flight, shared.state().waiting) == (0, 0)


class Account:
    """An account whose calls are of tasks of this loop, or of others."""

    def __init__(self) -> None:
        self.core = Admission(60.0, 120.0, random.Random(0))

    def call(self, now: float, loop: object | None, model: str = "m") -> Call:
        place = Place(Quota(model), 1, lambda: None, loop=loop)
        self.core.enter(place, now)
        self.core.taken(place)
        assert place.call is not None
        return place.call

    def stands_still(self, quota: Quota | None = None, *, streams: bool = False) -> bool:
        return stands_still(self.core, Place(quota or Quota("m"), 1, lambda: None), HERE, streams=streams)


def test_what_a_model_is_allowed_counts_by_model_and_by_loop() -> None:
    made = Account()
    made.call(0.0, HERE)
    made.call(0.0, HERE, "another")
    made.call(0.0, ELSEWHERE)
    made.call(0.0, None)
    assert made.stands_still(Quota("m", in_flight=1))
    assert not made.stands_still(Quota("m", in_flight=2))
    assert not made.stands_still(Quota("m"))
    call = made.call(0.0, HERE)
    assert made.stands_still(Quota("m", in_flight=2))
    made.core.begun(call, 0.1)
    assert not made.stands_still(Quota("m", in_flight=2))
    assert made.stands_still(Quota("m", in_flight=2), streams=True)
    made.core.answered(call, 1, 0.2)
    assert not made.stands_still(Quota("m", in_flight=2), streams=True)


def test_a_learned_number_of_calls_at_once_is_one_too() -> None:
    made = Account()
    made.core.rate.crowd.most = 2
    made.call(0.0, HERE, "another")
    assert not made.stands_still()
    second = made.call(0.0, ELSEWHERE)
    assert not made.stands_still(), "the other loop goes on"
    made.core.answered(second, 1, 0.1)
    made.call(0.2, HERE)
    assert made.stands_still()


@pytest.mark.parametrize(("loop", "still"), [(HERE, True), (ELSEWHERE, False), (None, False)])
def test_a_probe_is_one_too(loop: object | None, still: bool) -> None:
    made, now = Account(), 0.0
    while made.core.breaker.state == "closed":
        calls, now = [made.call(now, None), made.call(now, None)], now + 0.5
        for call in calls:
            made.core.failed(call, DOWN, ERROR, now)
    assert not made.stands_still()
    probe = made.call(now + 10.0, loop)
    assert probe.probe
    assert made.stands_still() is still
    made.core.answered(probe, 1, now + 11.0)
    assert not made.stands_still()


def test_a_run_stops_and_says_why(rig: Any) -> None:
    model = Meeting(alone=1)
    made = rig(model, spec=ModelSpec(model="offline/scripted", temperature=0.7, in_flight=1))
    made.lm("first")

    async def main() -> None:
        task = asyncio.create_task(made.lm.acall("awaited"))
        await model.under_way()
        late = threading.Timer(10.0, made.gate.interrupt)  # it fails rather than hangs
        late.start()
        with pytest.raises(Halt, match="blocks the event loop") as halted:
            made.lm("sync")
        late.cancel()
        model.met.set()
        assert halted.value.cause == "provider"
        assert halted.value.error.code == "blocked_loop"
        assert await task, "what was under way is paid for, and answered"

    asyncio.run(main())
    assert made.spent.calls == 2
