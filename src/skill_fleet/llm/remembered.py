"""Calls that a process remembers whole: what `FleetLM` gives again without asking its engine.

The memory decides nothing: an entry names the answers in the journal that it was made of, and is only used
while the journal gives just these. What one caller gets is never another's: whatever can be changed is new.
"""

import copy
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from dspy._vendor.lm15.serde import response_from_dict
from dspy.lm15 import Response, TextPart

_OPTIONS = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


_PLAIN = frozenset({str, int, float, bool, type(None)})


@dataclass(frozen=True)
class Remembered:
    """One call and what came of it.

    Attributes:
        answers: Key and stored body of each candidate, in order.
        result: DSPy's result of the call.
        shared: Whether its responses cannot be changed, so that callers may share them.
    """

    answers: tuple[tuple[str, str], ...]
    result: Any
    shared: bool

    @property
    def size(self) -> int:
        """Bytes it takes, about: the answers and what was read out of them."""
        return sum(len(key) + 2 * len(body) for key, body in self.answers)

    def fresh(self) -> Any:
        """The result as a new caller may have it."""
        result = self.result
        if self.shared:
            return _copied(result)
        responses = tuple(response_from_dict(orjson.loads(body)) for _, body in self.answers)
        return _copied(result, responses=responses, raw=responses[0] if len(responses) == 1 else None)


def remembered(answers: list[tuple[str, str]], result: Any) -> Remembered | None:
    """A call to remember; None when what came of it is not just the answers of the engine."""
    responses = result.responses
    whole = len(answers) == len(responses) > 0 and result.raw in (None, responses[0])
    if not whole:
        return None
    return Remembered(tuple(answers), _copied(result), all(map(unchangeable, responses)))


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


def _copied(result: Any, **changes: Any) -> Any:
    return type(result)(
        **{
            **vars(result),
            "outputs": _fresh(result.outputs),
            "usage": _fresh(result.usage),
            "cost_details": _fresh(result.cost_details),
            **changes,
        }
    )


def _fresh(value: Any) -> Any:
    """A copy of what JSON can say; it is on the hot path, so nothing is called for plain values."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, dict):
        copied = kind()
        for name, item in value.items():
            copied[name] = item if type(item) in _PLAIN else _fresh(item)
        return copied
    if kind is list:
        return [item if type(item) in _PLAIN else _fresh(item) for item in value]
    return copy.deepcopy(value)
