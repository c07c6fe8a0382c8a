"""Streams that count only when they are whole: the end says why, and an error says what came before it.

A proxy that loses its provider may end a stream in good order (`[DONE]`), and what came is half an answer.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any

from dspy.utils.exceptions import LMError, LMStreamAssemblyError

from skill_fleet.llm.failures import note_begun


def whole(events: Iterator[Any]) -> Generator[Any, None, None]:
    """The events of a stream.

    Raises:
        LMStreamAssemblyError: It ended without a word of why.
        LMError: As the stream; noted if some of the answer had come.
    """
    begun = False
    with closing(events) as stream:  # type: ignore[type-var]
        try:
            for event in stream:
                _look(event)
                begun = begun or event.type == "delta"
                yield event
        except LMError as error:
            if begun:
                note_begun(error)
            raise


async def awhole(events: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    """The same, awaited."""
    begun = False
    async with aclosing(events) as stream:  # type: ignore[type-var]
        try:
            async for event in stream:
                _look(event)
                begun = begun or event.type == "delta"
                yield event
        except LMError as error:
            if begun:
                note_begun(error)
            raise


def _look(event: Any) -> None:
    if event.type == "end" and event.finish_reason is None:
        raise LMStreamAssemblyError("The stream ended without a reason: the answer is cut off.")
