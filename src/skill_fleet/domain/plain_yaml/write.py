"""Values as YAML text: unquoted where every reader reads the same string, quoted where not."""

import re
from collections.abc import Mapping

from skill_fleet.domain.plain_yaml.tree import INDICATORS, NULLS, is_typed
from skill_fleet.foundation.errors import DataError

MAX_KEY = 128
"""Longest key written: YAML wants a key within 1,024 characters, escapes included."""

_PLAIN = re.compile(r"[\x20-\x7e\xa1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]+")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def field_lines(key: str, value: object, *, indent: str = "", like: str = "") -> list[str]:
    """The lines of one field.

    Args:
        key: The key, any text up to `MAX_KEY` characters.
        value: str, None (an empty value), bool, int, float, or a map or list of these.
        indent: What every line starts with.
        like: `'` or `"` to keep that quoting where the value allows it.

    Raises:
        DataError: The key or value cannot stand in a SKILL.md.
    """
    start = f"{indent}{_key(key)}:"
    if isinstance(value, Mapping) and value:
        below = (
            line for name, item in value.items() for line in field_lines(name, item, indent=f"{indent}  ")
        )
        return [start, *below]
    if isinstance(value, list | tuple) and value:
        return [start, *(f"{indent}  - {_flow(item)}" for item in value)]
    text = scalar(value, like=like) if isinstance(value, str) else _flow(value)
    return [start] if value is None else [f"{start} {text}"]


def scalar(text: str, *, like: str = "") -> str:
    """A string on one line of YAML that reads back as the same string everywhere."""
    _refuse_unwritable(text)
    if not like and _is_plain(text):
        return text
    if _PLAIN.fullmatch(text) and (like == "'" or (not like and ('"' in text or "\\" in text))):
        return "'" + text.replace("'", "''") + "'"
    return _double(text)


def _is_plain(text: str) -> bool:
    return (
        _PLAIN.fullmatch(text) is not None
        and text[0] not in INDICATORS
        and text.strip() == text
        and text[-1] != ":"
        and ": " not in text
        and " #" not in text
        and text not in NULLS
        and not is_typed(text)
    )


def _double(text: str) -> str:
    return '"' + _ESCAPED.sub(lambda found: _SHORT.get(found[0]) or f"\\u{ord(found[0]):04x}", text) + '"'


def _key(key: object) -> str:
    if not isinstance(key, str) or len(key) > MAX_KEY:
        raise DataError(
            f"A key of the frontmatter is not a string of at most {MAX_KEY} characters: {str(key)[:40]!r}."
        )
    _refuse_unwritable(key)
    is_word = _PLAIN_KEY.fullmatch(key) and key not in NULLS and not is_typed(key)
    return key if is_word else _double(key)


def _flow(value: object) -> str:
    """A value on one line, inside a list."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return scalar(value)
        case Mapping():
            return (
                "{"
                + ", ".join(f"{_double_key(name)}: {_flow_item(item)}" for name, item in value.items())
                + "}"
            )
        case list() | tuple():
            return "[" + ", ".join(_flow_item(item) for item in value) + "]"
        case _:
            raise DataError(f"A {type(value).__name__} cannot stand in a frontmatter.")


def _flow_item(value: object) -> str:
    if isinstance(value, str):
        _refuse_unwritable(value)
        return _double(value)
    return _flow(value)


def _double_key(key: object) -> str:
    _key(key)
    return _double(str(key))


def _refuse_unwritable(text: str) -> None:
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError(f"A NUL or half a surrogate pair cannot stand in a SKILL.md: {text[:40]!r}.")
