"""How a model is asked: by a stream, until it turns out that its server knows none.

Some servers answer whole whatever they are asked, and some refuse the request. The attempt has failed then,
and the next one asks for a whole answer; so do all later calls.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard

from dspy.lm15 import Request, StreamAssemblyError
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMInvalidRequestError,
    LMStreamAssemblyError,
    LMUnsupportedFeatureError,
)

from skill_fleet.llm.failures import Failure, understand

_OF_STREAMS = re.compile(r"\bstream", re.IGNORECASE)


class Streams(Protocol):
    """What makes one attempt, and can pass its answer on while it comes."""

    def stream(self, request: Request) -> Iterator[Any]:
        """One attempt: a start, pieces, and an end with the finish reason and the usage."""
        ...

    def astream(self, request: Request) -> AsyncIterator[Any]:
        """The same, awaited."""
        ...


def can_stream(inner: object) -> TypeGuard[Streams]:
    """Whether a model passes its answers on while they come."""
    return hasattr(inner, "stream") and hasattr(inner, "astream")


class NotStreamed(LMStreamAssemblyError):
    """The server, or its client, refuses a request because it asks for a stream.

    Args:
        refusal: In their words.
    """

    def __init__(self, refusal: Exception) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def understood(error: Exception, around: BaseException | None = None) -> Failure:
    """What a failed attempt means: a stream that is refused is worked on no more than other such requests.

    Args:
        error: What it failed with.
        around: What its caller was handling when he made it; see `understand`.
    """
    failure = understand(error, around)
    if isinstance(error, NotStreamed):
        return replace(failure, sent=understand(error.refusal).sent, answered=True)
    return failure


@dataclass
class Beginning:
    """Of one attempt by stream.

    Attributes:
        begun: Whether it has brought anything: then it is a stream.
    """

    begun: bool = False


@dataclass
class Way:
    """How one model is asked.

    Attributes:
        whole: Whether its server was found to know no streams.
    """

    whole: bool = False

    @contextlib.contextmanager
    def by_stream(self) -> Iterator[Beginning]:
        """One attempt; a stream that is none, or has no end, fails as what may be tried again."""
        beginning = Beginning()
        try:
            yield beginning
        except Exception as error:
            refused = _refuses(error)
            if not refused and not isinstance(error, (StreamAssemblyError, LMStreamAssemblyError)):
                raise
            self.whole = self.whole or not beginning.begun
            if refused:
                raise NotStreamed(error) from error
            if isinstance(error, LMStreamAssemblyError):
                raise
            raise LMStreamAssemblyError(str(error)) from error


def _refuses(error: Exception) -> bool:
    if isinstance(error, LMInvalidRequestError) and not isinstance(error, ContextWindowExceededError):
        return _OF_STREAMS.search(str(error)) is not None
    return isinstance(error, LMUnsupportedFeatureError)
