"""Only who is at the head of a queue has a time: whoever another comes in front of does not spin."""

import asyncio
import threading
import time
from collections.abc import Callable

from leaping_clock import LeapingClock
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.limiter import Limiter, Quota, Ticket
from skill_fleet.llm.limits.waiting import TaskWaiter

DOWN = Failure("server", "retry", sent=True)
SLOW = Failure("rate_limit", "retry", sent=False, retry_after=6.0)


def never() -> bool:
    return False


def pushed_back(shared: Limiter, clock: LeapingClock) -> tuple[Ticket, Ticket]:
    """A probe under way, and a call of before the outage that has not ended."""
    tickets = [shared.admit(Quota("m"), 1, never) for _ in range(8)]
    clock.ahead += 1.6
    for ticket in tickets[1:]:
        assert ticket is not None
        ticket.failed(DOWN)
    clock.ahead += 2.0
    probe = shared.admit(Quota("m"), 1, never)
    straggler = tickets[0]
    assert probe is not None
    assert straggler is not None
    assert probe.probe
    return probe, straggler


def test_an_event_loop_goes_on_while_a_task_waits_behind_a_probe_that_came_back() -> None:
    clock = LeapingClock()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)

    async def main() -> tuple[float, float]:
        probe, straggler = pushed_back(shared, clock)
        behind = asyncio.create_task(shared.aadmit(Quota("m"), 1, never))
        await asyncio.sleep(0.02)
        probe.failed(DOWN)  # whoever waits is at the head now, and has a time
        in_front = asyncio.create_task(shared.aadmit(Quota("m"), 1, never, probe))
        await asyncio.sleep(0.02)
        straggler.failed(SLOW)  # everybody waits longer than until that time
        clock.ahead += 4.0
        began, spent, gaps = time.monotonic(), time.process_time(), [0.0]
        for _ in range(40):
            last = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - last)
        busy = (time.process_time() - spent) / (time.monotonic() - began)
        for task in (behind, in_front):
            task.cancel()
        await asyncio.gather(behind, in_front, return_exceptions=True)
        return max(gaps), busy

    longest, busy = asyncio.run(main())
    assert longest < 0.5, "the loop stood still"
    assert busy < 0.6, "somebody spins"


def test_a_thread_behind_a_probe_that_came_back_does_not_spin() -> None:
    clock, stopped = LeapingClock(), threading.Event()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
    probe, straggler = pushed_back(shared, clock)
    threads: list[threading.Thread] = []

    def wait(before: Ticket | None, reached: Callable[[], bool]) -> None:
        threads.append(
            threading.Thread(target=shared.admit, args=(Quota("m"), 1, stopped.is_set, before), daemon=True)
        )
        threads[-1].start()
        patience = time.monotonic() + 20
        while not reached():
            assert time.monotonic() < patience
            time.sleep(0.001)

    wait(None, lambda: shared.state().waiting == 1)
    probe.failed(DOWN)
    wait(probe, lambda: shared.state().waiting == 2)
    straggler.failed(SLOW)
    clock.ahead += 4.0
    time.sleep(0.25)
    began, spent = time.monotonic(), time.process_time()
    time.sleep(0.5)
    busy = (time.process_time() - spent) / (time.monotonic() - began)
    stopped.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert busy < 0.4, "somebody spins"


def test_a_task_that_need_not_wait_or_was_woken_gives_the_others_a_turn_all_the_same() -> None:
    async def turns_of_another(seconds: float, *, woken: bool) -> int:
        waiter, turns = TaskWaiter(), 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        for _ in range(5):
            if woken:
                waiter._event.set()  # as `wake` does, but in this very turn
            await waiter.wait(SYSTEM_CLOCK, seconds, timed=True)
        task.cancel()
        return turns

    assert asyncio.run(turns_of_another(0.0, woken=False)) >= 4
    assert asyncio.run(turns_of_another(5.0, woken=True)) >= 4
