"""Calls that wait long for a provider, and who is told of it: silence is not to be taken for a hang.

Nobody looks for that alone: the calls that wait look, as often as they look whether they still should.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass
from typing import Any

from skill_fleet.llm.limits.limiter import LimiterState

_LONG = 5.0
_LOOK_EVERY = 1.0


@dataclass(frozen=True)
class Waiting:
    """A provider that is waited for.

    Attributes:
        provider: Its name.
        seconds: For how long it has answered nobody; 0 where it only asked for a pause.
        because: Code of the last failure; an empty string in a pause.
        paused: Seconds until calls go on, where it asked for a pause.
        given_up_after: Seconds without any answer after which it is given up; None while it is not in doubt.
    """

    provider: str
    seconds: float
    because: str
    paused: float
    given_up_after: float | None

    @property
    def message(self) -> str:
        """The same in a sentence."""
        if not self.because:
            return f"{self.provider} turns calls away for now: they go on in {self.paused:.0f} s."
        pause = f"; calls go on in {self.paused:.0f} s" if self.paused >= _LONG else ""
        until = "" if self.given_up_after is None else f"; given up after {self.given_up_after:.0f} s"
        return f"No answer from {self.provider} ({self.because}) for {self.seconds:.0f} s{pause}{until}."

    def to_json(self) -> dict[str, Any]:
        """All of it, and the sentence."""
        return {**asdict(self), "seconds": round(self.seconds, 1), "paused": round(self.paused, 1)} | {
            "message": self.message
        }


def waiting_for(provider: str, state: LimiterState) -> Waiting | None:
    """Whether an account keeps its calls waiting for long."""
    if state.silent >= _LONG:
        doubted = state.breaker != "closed" or state.because == "rate_limit"
        outage = state.outage if doubted else None
        return Waiting(provider, state.silent, state.because, state.paused, outage)
    if state.paused >= _LONG:
        return Waiting(provider, 0.0, "", state.paused, None)
    return None


class Patience:
    """Tells a listener, about once a second, that calls wait. For threads and tasks."""

    def __init__(self) -> None:
        self.listener: Callable[[Waiting], None] | None = None
        self._looked: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def look(self, account: Hashable, provider: str, state: Callable[[], LimiterState], now: float) -> None:
        """A call waits, and looks whether that is worth a word.

        Args:
            account: Whose limiter holds it up.
            provider: Its name.
            state: What the limiter says.
            now: Monotonic seconds.
        """
        if self.listener is None:
            return
        with self._lock:
            if now - self._looked.get(account, -_LOOK_EVERY) < _LOOK_EVERY:
                return
            self._looked[account] = now
        found = waiting_for(provider, state())
        if found is not None:
            self.listener(found)


class Rarely:
    """Whether it is time again: at most once in so many seconds. For threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: float | None = None
        self._lock = threading.Lock()

    def due(self, now: float) -> bool:
        """Whether so long has passed since it was last due."""
        with self._lock:
            if self._last is not None and now - self._last < self._seconds:
                return False
            self._last = now
            return True
