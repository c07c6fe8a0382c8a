"""Leave that comes in the very moment in which its caller is cancelled or gives up: it ends exactly once."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.limits.limiter import Limiter, Quota, Ticket

NARROW = Quota("m", in_flight=1)


def limiter() -> Limiter:
    return Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)


def never() -> bool:
    return False


class EndsAtTheLastLook:
    """Says that to wait has no use; the call under way ends just before, so that leave is given after all."""

    def __init__(self, under_way: Ticket, looks: int) -> None:
        self._under_way, self._left = under_way, looks

    def __call__(self) -> bool:
        self._left -= 1
        if self._left:
            return False
        self._under_way.answered(1)
        return True


@pytest.mark.parametrize("turns", range(6))
def test_a_task_that_is_cancelled_after_it_was_woken_does_not_go_on(turns: int) -> None:
    shared, went = limiter(), []

    async def call() -> None:
        ticket = await shared.aadmit(NARROW, 1, never)
        assert ticket is not None
        went.append("paid")
        try:
            await asyncio.sleep(0.05)
        finally:
            ticket.dropped()
        went.append("done")

    async def main() -> None:
        first = await shared.aadmit(NARROW, 1, never)
        assert first is not None
        task = asyncio.create_task(call())
        await asyncio.sleep(0.01)
        first.answered(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        before = list(went)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert went == before

    asyncio.run(main())
    state = shared.state()
    assert (state.in_flight, state.waiting) == (0, 0)


def test_leave_that_a_task_gets_as_it_gives_up_is_its_own_to_end_and_ends_once() -> None:
    shared = limiter()

    async def main() -> None:
        first = await shared.aadmit(NARROW, 1, never)
        assert first is not None
        ticket = await shared.aadmit(NARROW, 1, EndsAtTheLastLook(first, looks=3))
        assert ticket is not None
        assert shared.state().in_flight == 1
        ticket.dropped()
        assert shared.state().in_flight == 0

    asyncio.run(main())
    held = shared.admit(NARROW, 1, never)
    assert held is not None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.admit, NARROW, 1, never)
        time.sleep(1.3)  # so long leave may be on its way
        state = shared.state()
        assert (state.in_flight, state.waiting) == (1, 1)
        assert not waiting.done()
        held.answered(1)
        last = waiting.result(timeout=10)
        assert last is not None
        last.answered(1)
    state = shared.state()
    assert (state.in_flight, state.waiting) == (0, 0)


def test_leave_that_a_thread_gets_as_it_gives_up_is_its_own_to_end_and_ends_once() -> None:
    shared = limiter()
    first = shared.admit(NARROW, 1, never)
    assert first is not None
    ticket = shared.admit(NARROW, 1, EndsAtTheLastLook(first, looks=3))
    assert ticket is not None
    assert shared.state().in_flight == 1
    ticket.dropped()
    assert shared.state().in_flight == 0
    stopped = threading.Event()
    stopped.set()
    assert shared.admit(NARROW, 1, stopped.is_set) is None
