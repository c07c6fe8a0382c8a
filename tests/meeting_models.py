"""A scripted model whose attempts wait for one another or for the test, where a pause would be a guess."""

import asyncio
import threading
import time
from typing import Any

from dspy.lm15 import Request, Response

from skill_fleet.llm.testing import ScriptedModel

_LONGEST = 60.0
_GLANCE = 0.002


class Meeting(ScriptedModel):
    """As `ScriptedModel`; an attempt ends only once `met` is set.

    Args:
        together: `met` is set when so many attempts are under way at once. None: only the test sets it.
        alone: The first so many attempts are not held: what goes ahead of all others meets nobody.
        **options: As of `ScriptedModel`.

    Attributes:
        met: Whether attempts may end. After a minute they do all the same: no test hangs.
    """

    def __init__(self, together: int | None = None, *, alone: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.met = threading.Event()
        self._together = together
        self._alone = alone

    def complete(self, request: Request) -> Response:
        """One attempt, held."""
        held = self._entered(request)
        try:
            if held:
                self.met.wait(_LONGEST)
            return self._respond(request)
        finally:
            self._leave()

    async def acomplete(self, request: Request) -> Response:
        """One attempt, held and awaited."""
        held = self._entered(request)
        try:
            until = time.monotonic() + _LONGEST
            while held and not self.met.is_set() and time.monotonic() < until:  # noqa: ASYNC110 - of threads too
                await asyncio.sleep(_GLANCE)
            return self._respond(request)
        finally:
            self._leave()

    async def under_way(self, count: int = 1) -> None:
        """Wait until so many attempts are under way."""
        until = time.monotonic() + _LONGEST
        while self.in_flight < count:
            assert time.monotonic() < until, f"{self.in_flight} attempts are under way, not {count}"
            await asyncio.sleep(_GLANCE)

    def wait_until_under_way(self, count: int = 1) -> None:
        """The same, where nothing is awaited."""
        until = time.monotonic() + _LONGEST
        while self.in_flight < count:
            assert time.monotonic() < until, f"{self.in_flight} attempts are under way, not {count}"
            time.sleep(_GLANCE)

    def _entered(self, request: Request) -> bool:
        self._enter(request)
        if self._together is not None and self.in_flight >= self._together:
            self.met.set()
        return self.attempts > self._alone
