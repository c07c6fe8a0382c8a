"""A limiter for tests: lets through what it is told to, and keeps what it was told."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from skill_fleet.llm.limits.limiter import LimiterState


class WatchedTicket:
    """One admission, and how it ended."""

    def __init__(self, limiter: "WatchedLimiter", quota: Any, tokens: int) -> None:
        self.limiter = limiter
        self.quota = quota
        self.tokens = tokens
        self.excused = False
        self.alone = False
        self.overdue = False
        self.ends: list[tuple[str, Any]] = []

    def answered(self, tokens: int | None) -> None:
        self._end("answered", tokens)

    def failed(self, failure: Any, error: Any = None) -> None:
        self.excused = self.limiter.away()
        self._end("failed", failure)

    def dropped(self) -> None:
        self._end("dropped", None)

    def _end(self, how: str, what: Any) -> None:
        with self.limiter.lock:
            if not self.ends:
                self.limiter.out -= 1
            self.ends.append((how, what))

    @property
    def end(self) -> str | None:
        """The first, which counts: a ticket is idempotent after that."""
        return self.ends[0][0] if self.ends else None


class WatchedLimiter:
    """Admits everybody, as long as it is not shut.

    Attributes:
        tickets: In order.
        away: Whether its breaker is open: then failures are the provider's, not the call's.
        shut: Whether nobody is admitted; those who wait look at their `stop`.
        broken: What admission raises.
        out: Tickets that have not ended.
        waiting: How many wait.
        anew: Models that a run was about to ask for the first time.
    """

    def __init__(self) -> None:
        self.tickets: list[WatchedTicket] = []
        self.away: Callable[[], bool] = lambda: False
        self.shut = threading.Event()
        self.broken: Exception | None = None
        self.out = 0
        self.waiting = 0
        self.anew: list[str] = []
        self.lock = threading.Lock()

    def asked_anew(self, model: str) -> None:
        self.anew.append(model)

    def state(self) -> LimiterState:
        """Nobody waits for long."""
        return LimiterState(0.0, "closed", None, self.out, self.waiting, len(self.tickets), 0)

    def admit(
        self, quota: Any, tokens: int, stop: Callable[[], bool], before: Any = None
    ) -> WatchedTicket | None:
        if self.broken is not None:
            raise self.broken
        self.waiting += 1
        pause = threading.Event()
        try:
            while self.shut.is_set():
                if stop():
                    return None
                pause.wait(0.005)
        finally:
            self.waiting -= 1
        return self._ticket(quota, tokens)

    async def aadmit(
        self, quota: Any, tokens: int, stop: Callable[[], bool], before: Any = None
    ) -> WatchedTicket | None:
        if self.broken is not None:
            raise self.broken
        self.waiting += 1
        try:
            while self.shut.is_set():
                if stop():
                    return None
                await asyncio.sleep(0.005)
        finally:
            self.waiting -= 1
        return self._ticket(quota, tokens)

    def _ticket(self, quota: Any, tokens: int) -> WatchedTicket:
        with self.lock:
            self.out += 1
            self.tickets.append(WatchedTicket(self, quota, tokens))
            return self.tickets[-1]
