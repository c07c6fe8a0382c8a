"""Time as an argument: wall time for people, monotonic time for durations, sleep for waiting."""

import datetime as dt
import secrets
import time
from typing import Protocol


class Clock(Protocol):
    """Where a component reads the time. Tests pass a clock of their own."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def iso(seconds: float) -> str:
    """Seconds since 1970 as an ISO 8601 time in UTC, to the millisecond."""
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).isoformat(timespec="milliseconds")


def timed_name(clock: Clock, digits: int) -> str:
    """A new name that sorts by when it was made: date and time in UTC, then the millisecond and chance.

    Args:
        clock: When it is now.
        digits: Hexadecimal digits after the second, the first three of which are the millisecond.
    """
    milliseconds = int(clock.now() * 1000)
    second = dt.datetime.fromtimestamp(milliseconds // 1000, tz=dt.UTC).strftime("%Y%m%d-%H%M%S")
    chance = secrets.token_hex(digits)[: digits - 3]
    return f"{second}-{milliseconds % 1000:03x}{chance}"
