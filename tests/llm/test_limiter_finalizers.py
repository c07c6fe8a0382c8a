"""The garbage collector may end a call in the midst of anything: also in the thread that holds the lock."""

import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typing_extensions import override

from skill_fleet.foundation.clock import SYSTEM_CLOCK, SystemClock
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.limiter import Limiter, Quota, Ticket
from skill_fleet.llm.limits.waiting import ThreadWaiter

NARROW = Quota("m", in_flight=1)
SLOW = Failure("rate_limit", "retry", sent=False, retry_after=0.01)


class CollectingClock(SystemClock):
    """At one look at it the garbage is collected: the limiter looks with its lock held.

    Attributes:
        looks: So many from now on; 0: at none.
    """

    def __init__(self) -> None:
        self.looks = 0

    @override
    def monotonic(self) -> float:
        if self.looks:
            self.looks -= 1
            if not self.looks:
                gc.collect()
        return super().monotonic()


class Abandoned:
    """A stream that nobody reads any more, in a cycle: only the garbage collector ends its call."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.itself = self

    def __del__(self) -> None:
        self.ticket.dropped()


@pytest.fixture(autouse=True)
def collected_when_told() -> Iterator[None]:
    """Nothing else collects garbage meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def admitted(shared: Limiter, seconds: float = 10.0) -> Ticket:
    end = time.monotonic() + seconds
    ticket = shared.admit(NARROW, 1, lambda: time.monotonic() > end)
    assert ticket is not None, "it waited in vain"
    return ticket


def in_time(work: Callable[[], object]) -> None:
    """A thread that waits for itself is left behind; the test fails."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(15)
    assert not thread.is_alive(), "it waits for its own lock"


def test_a_stream_that_is_collected_while_the_lock_is_held_is_ended_by_who_has_it_next() -> None:
    clock = CollectingClock()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)

    def work() -> None:
        Abandoned(admitted(shared))
        assert shared.state().in_flight == 1
        clock.looks = 1
        shared.state()

    in_time(work)
    assert shared.state().in_flight == 0


def test_whoever_waits_for_the_place_of_such_a_stream_gets_it() -> None:
    clock = CollectingClock()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
    Abandoned(admitted(shared))
    got: list[Ticket] = []

    def work() -> None:
        clock.looks = 2  # when it came, and when it stands in the queue
        got.append(admitted(shared))

    in_time(work)
    assert len(got) == 1
    assert (shared.state().in_flight, shared.state().waiting) == (1, 0)


@pytest.mark.parametrize("how", ["answered", "failed", "dropped"])
def test_many_of_them_end_once_each_whatever_the_thread_was_about(how: str) -> None:
    clock = CollectingClock()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)

    def work() -> None:
        last = shared.admit(Quota("m"), 1, lambda: False)
        assert last is not None
        for _ in range(2_000):
            ticket = shared.admit(Quota("m"), 1, lambda: False)
            assert ticket is not None
            Abandoned(ticket)
        clock.looks = 1
        if how == "answered":
            last.answered(1)
        elif how == "failed":
            last.failed(SLOW)
        else:
            last.dropped()

    in_time(work)
    assert shared.state().in_flight == 0
    assert shared.state().rejected == (how == "failed")


def test_one_that_is_collected_while_it_is_waited_for_lets_its_own_thread_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared, let_go = Limiter(SystemClock(), longest_pause=60.0, outage_seconds=120.0), []
    waits = ThreadWaiter.wait
    held = [Abandoned(admitted(shared))]

    def wait(waiter: ThreadWaiter, *args: Any, **options: Any) -> None:
        held.clear()
        gc.collect()
        let_go.append(shared.state().admitted)
        waits(waiter, *args, **options)

    monkeypatch.setattr(ThreadWaiter, "wait", wait)
    in_time(lambda: admitted(shared).dropped())
    assert let_go == [2]
    assert shared.state().in_flight == 0


def test_whoever_comes_after_it_need_not_wait() -> None:
    clock, looks = CollectingClock(), iter([False, True])
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
    Abandoned(admitted(shared))
    with shared._lock:
        gc.collect()
    assert shared.admit(NARROW, 1, lambda: next(looks)) is not None
    assert next(looks), "it did not look again"


def test_whoever_waits_for_a_call_that_was_ended_late_sees_it_when_he_looks_again() -> None:
    clock, stopped = CollectingClock(), threading.Event()
    shared = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
    Abandoned(admitted(shared))
    got: list[Ticket | None] = []
    waiting = threading.Thread(target=lambda: got.append(shared.admit(NARROW, 1, stopped.is_set)))
    waiting.start()
    patience = time.monotonic() + 10
    while not shared.state().waiting:
        assert time.monotonic() < patience
    with shared._lock:
        gc.collect()  # as where the garbage is collected at the last moment with the lock held
        assert shared._core.admitted == 1, "nothing is ended in the midst of something else"
    while not got and time.monotonic() < patience:
        time.sleep(0.005)
    stopped.set()
    waiting.join(10)
    assert got[0] is not None


def test_a_thread_that_was_woken_twice_sleeps_again_after_it_has_looked() -> None:
    waiter = ThreadWaiter()
    waiter.wake()
    waiter.wake()
    began = time.monotonic()
    waiter.wait(SYSTEM_CLOCK, 30.0, timed=True)
    assert time.monotonic() - began < 25.0
    began = time.monotonic()
    waiter.wait(SYSTEM_CLOCK, 0.05, timed=True)
    assert time.monotonic() - began >= 0.04


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers that interrupt")
def test_an_interrupt_at_any_moment_leaves_the_lock_free() -> None:
    shared = Limiter(SystemClock(), longest_pause=60.0, outage_seconds=120.0)
    rng, end, count = random.Random(0), time.monotonic() + 1.0, 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def calls(seconds: float) -> None:
        signal.setitimer(
            signal.ITIMER_VIRTUAL, seconds
        )  # of work: the other one is the test's own time limit
        while True:
            ticket = shared.admit(Quota("m"), 1, lambda: False)
            assert ticket is not None
            ticket.dropped()

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        while time.monotonic() < end or count < 20:  # on a busy machine it takes longer
            with pytest.raises(KeyboardInterrupt):
                calls(rng.uniform(5e-5, 4e-4))
            count += 1
            in_time(shared.state)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
