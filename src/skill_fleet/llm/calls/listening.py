"""Who hears an answer while it is made, though it is asked for whole: a screen, for example.

What is heard is for the eyes alone. The answer is the one that is returned and journaled, and an attempt that
fails is made again: then `begins` says that what was heard before is void. A context variable carries the
listener, so it hears the calls of its own thread or task only.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from dspy.lm15 import AsyncResponseStream, Request, Response, ResponseStream

from skill_fleet.llm.calls.way import Way, can_stream


class Listener(Protocol):
    """Hears the attempts at calls."""

    def begins(self) -> None:
        """An attempt begins: what was heard of the one before it, if that failed, is void."""
        ...

    def says(self, text: str, *, thought: bool) -> None:
        """The next piece of the answer, or of what the model thinks before it answers."""
        ...


@dataclass
class Ear:
    """What carries attempts to a listener.

    Attributes:
        listener: Who hears.
        way: How the model is asked.
    """

    listener: Listener
    way: Way = field(default_factory=Way)

    def hear(self, event: Any) -> None:
        """Tell the listener of a piece."""
        piece = event.delta if event.type == "delta" else None
        if piece is not None and piece.type in {"text", "thinking"}:
            self.listener.says(piece.text, thought=piece.type == "thinking")


_EAR: contextvars.ContextVar[Ear | None] = contextvars.ContextVar("ear", default=None)


@contextlib.contextmanager
def heard_by(ear: Ear | None) -> Iterator[None]:
    """Let the calls of this thread or task be heard; None changes nothing."""
    if ear is None:
        yield
        return
    token = _EAR.set(ear)
    try:
        yield
    finally:
        _EAR.reset(token)


def asked(inner: Any, request: Request) -> Response:
    """One attempt: whole, or heard on its way where somebody listens and the model can."""
    ear = _EAR.get()
    if ear is None:
        return inner.complete(request)
    ear.listener.begins()
    if ear.way.whole or not can_stream(inner):
        return inner.complete(request)
    with (
        ear.way.by_stream() as answer,
        contextlib.closing(ResponseStream(inner.stream(request), request)) as stream,
    ):
        for event in stream.events():
            answer.begun = True
            ear.hear(event)
        return stream.response


async def awaited_asked(inner: Any, request: Request) -> Response:
    """The same, awaited."""
    ear = _EAR.get()
    if ear is None:
        return await inner.acomplete(request)
    ear.listener.begins()
    if ear.way.whole or not can_stream(inner):
        return await inner.acomplete(request)
    with ear.way.by_stream() as answer:
        async with contextlib.aclosing(AsyncResponseStream(inner.astream(request), request)) as stream:
            async for event in stream.events():
                answer.begun = True
                ear.hear(event)
            return await stream.response()
