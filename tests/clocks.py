"""A clock for tests: nobody waits."""

import threading
import time
from collections.abc import Callable
from typing import Any


class FakeClock:
    """A clock that moves when somebody sleeps on it, and keeps what was slept."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = start
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.time += seconds


def time_goes_by_until(done: Any, clock: FakeClock, seconds: float) -> Any:
    """The result of a future; so many seconds go by on the clock, again and again until it is there.

    Whoever begins to wait late, on a busy machine, has waited for so long too in the end.
    """
    for _ in range(1200):
        clock.time += seconds
        try:
            return done.result(0.05)
        except TimeoutError:
            continue
    raise AssertionError("it hangs")


def soon(true: Callable[[], object]) -> None:
    """Wait until something is true that another thread brings about."""
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.002)
