"""Only who is at the head of a queue has a time: whoever another comes in front of does not spin."""

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from leaping_clock import LeapingClock
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Place, Quota
from skill_fleet.llm.limits.limiter import Limiter, Ticket
from skill_fleet.llm.limits.waiting import TaskWaiter

DOWN = Failure("server", "retry", sent=True)
SLOW = Failure("rate_limit", "retry", sent=False, retry_after=6.0)
ERROR = ProviderError("It is down.")
MODELS = (Quota("free"), Quota("paced", rpm=60), Quota("narrow", in_flight=1))


def never() -> bool:
    return False


class Anybody:
    """Callers that come, are let go, take leave or not, fail, come again, give up: at random."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.core = Admission(60.0, 120.0, random.Random(seed + 1))
        self.now = 0.0
        self.waiting: list[Place] = []
        self.under_way: list[Place] = []
        self.loops = [None, object(), object()]

    def step(self) -> None:
        self.now += self.rng.choice([0.0, 0.05, 0.6, 2.5])
        self.rng.choice([self.come, self.come, self.end, self.end, self.look, self.look, self.give_up])()
        self.core.serve(self.now)  # whoever waits does so when the time has come
        for place in [place for place in self.waiting if place.decided]:
            busy = place.loop is not None and self.rng.random() < 0.5  # it does not see its leave
            if place.error is not None or not busy:
                self.core.taken(place)
                self.waiting.remove(place)
                self.under_way += [] if place.error else [place]

    def come(self, before: Place | None = None) -> None:
        quota = self.rng.choice(MODELS) if before is None else before.quota
        place = Place(quota, 1, lambda: None, loop=self.rng.choice(self.loops))
        if before is not None and before.call is not None:
            call = before.call
            place.probes, place.origin, place.began = call.probes, call.origin, call.began
        self.waiting.append(place)
        self.core.enter(place, self.now)

    def end(self) -> None:
        if not self.under_way:
            return
        place = self.under_way.pop(self.rng.randrange(len(self.under_way)))
        assert place.call is not None
        if self.rng.random() < 0.3:
            self.core.answered(place.call, 1, self.now)
        else:
            self.core.failed(place.call, self.rng.choice([DOWN, DOWN, DOWN, SLOW]), ERROR, self.now)
            self.come(before=place)

    def look(self) -> None:
        absent = [place for place in self.waiting if place.absent]
        if absent and self.rng.random() < 0.5:
            self.core.present(absent[0], self.now)
        else:
            self.core.serve(self.now)

    def give_up(self) -> None:
        if self.waiting and self.rng.random() < 0.3:
            place = self.rng.choice(self.waiting)
            if not place.decided:
                self.waiting.remove(place)
                self.core.leave(place, self.now)

    def timed(self) -> list[Place]:
        return [place for place in self.waiting if not place.decided and place.due < math.inf]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_one_of_each_queue_has_a_time_at_most_and_it_is_still_to_come(seed: int) -> None:
    made = Anybody(seed)
    for _ in range(120):
        made.step()
        timed = made.timed()
        assert all(place.due > made.now for place in timed)
        assert len({place.quota.model for place in timed}) == len(timed)
    in_hand = sum(place.call is not None for place in (*made.waiting, *made.under_way))
    assert made.core.in_flight == in_hand


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
