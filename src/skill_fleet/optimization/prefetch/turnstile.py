"""Stock run and ghosts together never have more calls in flight than there are threads."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from skill_fleet.config.settings import Phase
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, MeteredEngine
from skill_fleet.llm.fleet_lm import FleetLM

_LOOP_SECONDS = 5.0
"""For so long a sync call in the thread of an event loop waits for a place."""


class Turnstile:
    """Where every paid attempt of one search passes, whoever makes it; first come, first served.

    Args:
        threads: Attempts under way at a time.
        on_pay: Told of each attempt that has got its place, by the thread that makes it.
    """

    def __init__(self, threads: int, on_pay: Callable[[], None]) -> None:
        self.free = threads
        self.on_pay = on_pay
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def bound(self, lms: Mapping[Phase, FleetLM]) -> dict[Phase, FleetLM]:
        """The same models, behind this turnstile."""
        return {phase: self._behind(lm) for phase, lm in lms.items()}

    def acquire(self) -> None:
        """Take a place for an attempt.

        In the thread of an event loop it goes without one in the end: the loop stands still meanwhile, and
        perhaps it is the loop's own tasks that have all the places.
        """
        place = self._asked()
        try:
            place.result(_LOOP_SECONDS if _in_a_loop() else None)
        except TimeoutError:
            if place.cancel():
                with self._lock:
                    self.free -= 1
        except BaseException:
            self._withdraw(place)
            raise
        self.on_pay()

    async def aacquire(self) -> None:
        """The same, awaited."""
        place = self._asked()
        try:
            if not place.done():
                await asyncio.wrap_future(place)
        except BaseException:
            self._withdraw(place)
            raise
        self.on_pay()

    def release(self) -> None:
        """Give it back: to who waits longest."""
        with self._lock:
            self.free += 1
            while self._waiting and self.free > 0:
                place = self._waiting.popleft()
                if place.set_running_or_notify_cancel():  # not given up by now
                    self.free -= 1
                    place.set_result(None)

    def _asked(self) -> Future[None]:
        place: Future[None] = Future()
        with self._lock:
            if self.free > 0:
                self.free -= 1
                place.set_result(None)
            else:
                self._waiting.append(place)
        return place

    def _withdraw(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled():
            self.release()  # it was given in the same moment

    def _behind(self, lm: FleetLM) -> FleetLM:
        engine = lm.engine.behind(place=self)
        return lm.copy(engine=engine, async_engine=AsyncMeteredEngine(engine))


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def is_fleet(lm: Any) -> bool:
    """Whether a model's calls go through a journal: only there an answer is paid for once."""
    return isinstance(lm, FleetLM) and isinstance(lm.engine, MeteredEngine)
