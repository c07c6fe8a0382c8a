"""JSON as people really write it into data files: decoded strictly, and every flaw named by where it stands.

Python's own decoder lets NaN and repeated keys pass and keeps half of a surrogate pair; such data cannot be
hashed, written again or sent to a model, so it is refused here.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from skill_fleet.foundation.errors import DataError

MAX_DEPTH = 64
_MAX_INTEGER_BITS = 4_096


class _RepeatedKey(dict[str, Any]):
    """An object of which one key stood there twice; `key` says which."""

    key: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _RepeatedKey(found)
    names = [name for name, _ in pairs]
    repeated.key = next(name for name in names if names.count(name) > 1)
    return repeated


def decode(text: str, where: str) -> Any:
    """The value of a JSON text, not yet checked: see `checked`.

    Args:
        text: JSON, a byte order mark allowed.
        where: What the text is, to begin the message with.

    Raises:
        DataError: It is not JSON; the message names line and column.
    """
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be read.") from None
    except ValueError:
        raise DataError(f"{where} holds a number with too many digits.") from None


def checked(value: Any, where: str, *, depth: int = 0) -> Any:
    """A copy of a value that holds nothing but JSON: tuples become lists, mappings become dictionaries.

    Raises:
        DataError: Something in it is not JSON, stands twice, or is nested deeper than 64 levels.
    """
    if depth > MAX_DEPTH:
        raise DataError(f"{where} is nested too deeply: more than {MAX_DEPTH} levels.")
    if isinstance(value, Mapping):
        return _checked_object(value, where, depth)
    if isinstance(value, list | tuple):
        return [checked(part, f"{where}[{index}]", depth=depth + 1) for index, part in enumerate(value)]
    if isinstance(value, str):
        return _checked_text(value, where)
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{where} is {value}, which is not a JSON number.")
    if isinstance(value, int) and value.bit_length() > _MAX_INTEGER_BITS:
        raise DataError(f"{where} is a number with too many digits.")
    if value is None or isinstance(value, int | float):
        return value
    raise DataError(f"{where} is a {type(value).__name__}, which JSON does not have.")


def _checked_object(value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
    if isinstance(value, _RepeatedKey):
        raise DataError(f"{where} has the key '{value.key}' twice.", hint="Keep one of the two.")
    found = {}
    for key, part in value.items():
        if not isinstance(key, str):
            raise DataError(f"{where} has the key {key!r}, which is not text.")
        found[_checked_text(key, where)] = checked(part, f"{where}.{key}", depth=depth + 1)
    return found


def _checked_text(value: str, where: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where} holds half of a surrogate pair at character {error.start}.") from None
    return value


def texts_in(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, keys left out, with the place where it stands (`a.b[0]`); keys in order."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from texts_in(value[name], f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from texts_in(part, f"{place}[{index}]")


def kind(value: Any) -> str:
    """What a value is, in the words of JSON, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text" if value.strip() else "blank text"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
