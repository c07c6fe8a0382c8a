"""A scripted model whose answers come word by word, and break off where a script says so."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from dspy.lm15 import Request, Response

from skill_fleet.llm.calls.streaming import as_events
from skill_fleet.llm.testing import ScriptedModel

Break = Callable[[int, int], None]


class WordByWord(ScriptedModel):
    """As `ScriptedModel`; `stream` gives the very answer that `complete` would, in words.

    Args:
        pause: Seconds before each piece.
        breaks: Called with the attempt's number (from 1) and the piece's (from 0); raises what goes wrong.
        change: Makes another response of the one that was scripted.
        **options: As of `ScriptedModel`.

    Attributes:
        streamed: Attempts that were streams.
        closed: Streams that were left before their end.
        begun: Set when the first piece is about to be given.
    """

    def __init__(
        self,
        *,
        pause: float = 0.0,
        breaks: Break | None = None,
        change: Callable[[Response], Response] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pause = pause
        self.streamed = 0
        self.closed = 0
        self.begun = threading.Event()
        self._breaks = breaks
        self._change = change

    def stream(self, request: Request) -> Iterator[Any]:
        """One attempt, word by word."""
        self._enter(request)
        try:
            for event in self._pieces(request):
                time.sleep(self.pause)
                yield event
        except GeneratorExit:
            self.closed += 1
            raise
        finally:
            self._leave()

    async def astream(self, request: Request) -> AsyncIterator[Any]:
        """One attempt, word by word, awaited."""
        self._enter(request)
        try:
            for event in self._pieces(request):
                await asyncio.sleep(self.pause)
                yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.closed += 1
            raise
        finally:
            self._leave()

    def _respond(self, request: Request) -> Response:
        response = super()._respond(request)
        return self._change(response) if self._change is not None else response

    def _pieces(self, request: Request) -> Iterator[Any]:
        self.streamed += 1
        number = self.attempts
        for place, event in enumerate(as_events(self._respond(request))):
            if self._breaks is not None:
                self._breaks(number, place)
            self.begun.set()
            yield event
