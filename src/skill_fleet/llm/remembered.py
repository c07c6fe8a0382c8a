"""Calls that a process remembers whole: what `FleetLM` gives again without asking its engine.

The memory decides nothing: an entry names the answers in the journal that it was made of, and is only used
while the journal gives just these. What one caller gets is never another's: whatever can be changed is new.
"""

import copy
import dataclasses
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
        changes: dict[str, Any] = {
            name: _fresh(getattr(result, name)) for name in ("outputs", "usage", "cost_details")
        }
        if not self.shared:
            responses = tuple(response_from_dict(orjson.loads(body)) for _, body in self.answers)
            changes |= {"responses": responses, "raw": responses[0] if len(responses) == 1 else None}
        return dataclasses.replace(result, **changes)


def remembered(answers: list[tuple[str, str]], result: Any) -> Remembered | None:
    """A call to remember; None when what came of it is not just the answers of the engine."""
    responses = result.responses
    whole = len(answers) == len(responses) > 0 and result.raw in (None, responses[0])
    if not whole:
        return None
    mine = dataclasses.replace(
        result, **{name: _fresh(getattr(result, name)) for name in ("outputs", "usage", "cost_details")}
    )
    return Remembered(tuple(answers), mine, all(map(_unchangeable, responses)))


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


def _unchangeable(response: Response) -> bool:
    message = response.message
    return (
        response.provider_data is None
        and not response.adaptations
        and not message.continuation
        and all(type(part) is TextPart and not part.continuation for part in message.parts)
    )


def _fresh(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return type(value)((key, _fresh(item)) for key, item in value.items())
    if isinstance(value, list):
        return [_fresh(item) for item in value]
    return copy.deepcopy(value)
