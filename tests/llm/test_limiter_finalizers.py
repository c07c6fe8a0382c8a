"""The garbage collector may end a call in the midst of anything: also in the thread that holds the lock."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typing_extensions import override

from skill_fleet.foundation.clock import SystemClock
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.finalizer_lock import FinalizerLock
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


def test_a_stream_that_is_collected_while_the_lock_is_held_ends_right_after() -> None:
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


def test_one_that_is_collected_in_a_thread_that_waits_ends_when_that_looks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To be woken is to take a lock of the waiting, which its own thread may have at that moment."""
    shared, let_go = Limiter(SystemClock(), longest_pause=60.0, outage_seconds=120.0), []
    waits = ThreadWaiter.wait
    held = [Abandoned(admitted(shared))]

    def wait(waiter: ThreadWaiter, *args: Any, **options: Any) -> None:
        held.clear()
        gc.collect()
        let_go.append(shared._core.admitted)
        waits(waiter, *args, **options)

    monkeypatch.setattr(ThreadWaiter, "wait", wait)
    in_time(lambda: admitted(shared).dropped())
    assert let_go == [1], "it was ended in the midst of it"
    assert shared.state().in_flight == 0


def test_what_is_put_off_where_the_lock_is_not_held_is_done_after_it_and_under_the_lock() -> None:
    lock, done = FinalizerLock(), []
    with lock.putting_off():
        with lock.putting_off():
            lock.soon(lambda: done.append(lock._lock.locked()))
        assert not done
    assert done == [True]
    lock.soon(lambda: done.append(lock._lock.locked()))
    assert done == [True, True]


def test_it_is_done_as_well_where_the_thread_meets_an_error_in_the_midst_of_it() -> None:
    lock, done = FinalizerLock(), []

    def fails() -> None:
        with lock.held():
            lock.soon(lambda: done.append(lock._lock.locked()))
            raise ValueError("in the midst of it")

    with pytest.raises(ValueError, match="midst"):
        fails()
    assert done == [True]
    assert not lock._lock.locked()
