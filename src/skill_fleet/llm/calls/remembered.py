"""Calls that a process remembers whole: what `FleetLM` gives again without asking its engine.

The memory decides nothing: an entry names the answers in the journal that the call was given, and is used
only while the journal gives just these. What one caller gets is never another's: DSPy makes its result anew,
of responses that cannot be changed, or that are read anew.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from dspy.lm15 import Response, TextPart

from skill_fleet.llm.lm15_json import response_from_dict

_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What one call was given.

    Attributes:
        answers: Key and stored body of each completion, in order.
        shared: The responses, where they cannot be changed, so that callers may share them; else None.
    """

    answers: tuple[tuple[str, str], ...]
    shared: tuple[Response, ...] | None

    @property
    def size(self) -> int:
        """Bytes it takes, about: the answers and what was read out of them."""
        return sum(len(key) + 2 * len(body) for key, body in self.answers)

    def responses(self) -> tuple[Response, ...]:
        """The responses as a new caller may have them."""
        if self.shared is not None:
            return self.shared
        return tuple(response_from_dict(orjson.loads(body)) for _, body in self.answers)


def remembered(answers: list[tuple[str, str]], responses: tuple[Response, ...]) -> Remembered | None:
    """A call to remember; None when its responses are not just the answers of the engine."""
    if not responses or len(answers) != len(responses):
        return None
    return Remembered(tuple(answers), responses if all(map(unchangeable, responses)) else None)


def memo_key(place: list[Any], asked: dict[str, Any]) -> bytes | None:
    """What tells calls apart; None where that cannot be said exactly: such a call is not remembered.

    Args:
        place: Model, address, phase and kind of call.
        asked: Messages and all options, the rollout and the number of completions among them.
    """
    try:
        document = orjson.dumps([place, asked], option=_OPTIONS)
    except TypeError:
        return None
    return hashlib.blake2b(document, digest_size=32).digest()


def unchangeable(response: Response) -> bool:
    """Whether it is words and numbers alone: many may share it, and it comes back whole from its JSON."""
    message = response.message
    return (
        response.provider_data is None
        and response.logprobs is None
        and not response.adaptations
        and not message.continuation
        and all(type(part) is TextPart and not part.continuation for part in message.parts)
    )
