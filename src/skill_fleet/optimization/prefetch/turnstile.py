"""Stock run and ghosts together never have more calls in flight than there are threads."""

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, cast

from skill_fleet.config.settings import Phase
from skill_fleet.llm.engine import AsyncMeteredEngine, MeteredEngine
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

    def _behind(self, lm: FleetLM) -> FleetLM:
        engine = _TurnstileEngine(lm.engine, self)
        return lm.copy(engine=engine, async_engine=AsyncMeteredEngine(engine))


class _TurnstileEngine(MeteredEngine):
    """A metered engine that takes a place for each attempt, beside the slot its model may ask for."""

    def __init__(self, engine: MeteredEngine, turnstile: Turnstile) -> None:
        super().__init__(engine.inner, engine.spec, engine.line, engine.gate, engine.price, engine.on_failure)
        # The engine asks of a slot only what a `_Place` can do: enter, leave, and acquire without waiting.
        self._slot = cast("threading.BoundedSemaphore", _Place(turnstile, self._slot))


class _Place:
    """One attempt's slot of its model, if that has any, and its place in the turnstile."""

    def __init__(self, turnstile: Turnstile, slot: threading.BoundedSemaphore | None) -> None:
        self._turnstile = turnstile
        self._slot = slot

    def acquire(self, blocking: bool = True) -> bool:  # noqa: FBT001, FBT002 - as a semaphore's
        self._turnstile.on_pay()
        if self._slot is not None and not self._slot.acquire(blocking=blocking):
            return False
        if self._turnstile.places.acquire(blocking=blocking):
            return True
        if self._slot is not None:
            self._slot.release()
        return False

    def release(self) -> None:
        self._turnstile.places.release()
        if self._slot is not None:
            self._slot.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_fleet(lm: Any) -> bool:
    """Whether a model's calls go through a journal: only there an answer is paid for once."""
    return isinstance(lm, FleetLM) and isinstance(lm.engine, MeteredEngine)
