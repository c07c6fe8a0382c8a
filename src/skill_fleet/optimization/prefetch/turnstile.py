"""Stock run and ghosts together never have more calls in flight than there are threads."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from skill_fleet.config.settings import Phase
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, MeteredEngine
from skill_fleet.llm.fleet_lm import FleetLM


class Turnstile:
    """Where every paid attempt of one search passes, whoever makes it.

    Args:
        threads: Attempts under way at a time.
        on_pay: Told before each attempt.
    """

    def __init__(self, threads: int, on_pay: Callable[[], None]) -> None:
        self.places = threading.BoundedSemaphore(threads)
        self.on_pay = on_pay

    def bound(self, lms: Mapping[Phase, FleetLM]) -> dict[Phase, FleetLM]:
        """The same models, behind this turnstile."""
        return {phase: self._behind(lm) for phase, lm in lms.items()}

    def acquire(self, blocking: bool = True) -> bool:  # noqa: FBT001, FBT002 - as a semaphore's
        """Take a place for an attempt, as an engine does."""
        self.on_pay()
        return self.places.acquire(blocking=blocking)

    def release(self) -> None:
        """Give it back."""
        self.places.release()

    def _behind(self, lm: FleetLM) -> FleetLM:
        engine = lm.engine.behind(place=self)
        return lm.copy(engine=engine, async_engine=AsyncMeteredEngine(engine))


def is_fleet(lm: Any) -> bool:
    """Whether a model's calls go through a journal: only there an answer is paid for once."""
    return isinstance(lm, FleetLM) and isinstance(lm.engine, MeteredEngine)
