"""JSON read strictly (RFC 8259, I-JSON of RFC 7493): what two readers could read differently is refused."""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from skill_fleet.api.problems import Refused

DEEPEST = 64


def strict_json(body: bytes) -> Any:
    """The value of a JSON body.

    Raises:
        Refused: `invalid_json`: it is not UTF-8, not JSON, has a key twice, a number that is none, half of a
            surrogate pair, or is nested deeper than 64.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite, parse_int=_integer
        )
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _refused(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise _refused(f"it is nested deeper than {DEEPEST}") from None
    _check_depth(value)
    if "\\u" in text:
        _check_characters(value)
    return value


def _refused(why: str) -> Refused:
    return Refused("invalid_json", f"The body is not JSON that can be read: {why}.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        times = Counter(key for key, _ in pairs)
        twice = next(key for key, number in times.items() if number > 1)
        raise _refused(f"the key {json.dumps(twice[:80])} stands there twice")
    return value


def _no_number(name: str) -> NoReturn:
    raise _refused(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _refused(f"the number {text[:40]} is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > 40:
        raise _refused(f"the number {text[:40]}… is too large")
    return int(text)


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            child
            for outer in level
            for child in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _refused(f"it is nested deeper than {DEEPEST}")


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _refused("an escape stands for half of a character") from None
