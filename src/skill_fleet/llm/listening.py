"""Who hears an answer while it is made, though it is asked for whole: a screen, for example.

What is heard is for the eyes alone. The answer is the one that is returned and journaled, and an attempt that
fails is made again: then `begins` says that what was heard before is void. A context variable carries the
listener, so it hears the calls of its own thread or task only.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Protocol

from dspy.lm15 import AsyncResponseStream, Request, Response, ResponseStream

from skill_fleet.llm.streaming import assembling, can_stream


class Listener(Protocol):
    """Hears the attempts at calls."""

    def begins(self) -> None:
        """An attempt begins: what was heard of the one before it, if that failed, is void."""
        ...

    def says(self, text: str, *, thought: bool) -> None:
        """The next piece of the answer, or of what the model thinks before it answers."""
        ...


_LISTENER: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("listener", default=None)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let the listener hear the calls of this thread or task."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def asked(inner: Any, request: Request) -> Response:
    """One attempt: whole, or heard on its way where somebody listens and the model can."""
    listener = _LISTENER.get()
    if listener is None or not can_stream(inner):
        return inner.complete(request)
    listener.begins()
    with assembling(), contextlib.closing(ResponseStream(inner.stream(request), request)) as stream:
        for event in stream.events():
            _tell(listener, event)
        return stream.response


async def awaited_asked(inner: Any, request: Request) -> Response:
    """The same, awaited."""
    listener = _LISTENER.get()
    if listener is None or not can_stream(inner):
        return await inner.acomplete(request)
    listener.begins()
    with assembling():
        async with contextlib.aclosing(AsyncResponseStream(inner.astream(request), request)) as stream:
            async for event in stream.events():
                _tell(listener, event)
            return await stream.response()


def _tell(listener: Listener, event: Any) -> None:
    piece = event.delta if event.type == "delta" else None
    if piece is not None and piece.type in {"text", "thinking"}:
        listener.says(piece.text, thought=piece.type == "thinking")
