"""Opaque cursors: where the next page of a list begins, and of which list."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UsageError

_LONGEST = 4000


def make_cursor(place: Sequence[str | float], filters: Any) -> str:
    """The cursor of the page after an entry.

    Args:
        place: What the list is ordered by, of that entry.
        filters: What else decides what is in the list; a JSON value.
    """
    value = json.dumps([*place, _sign(place, filters)])
    return base64.urlsafe_b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def read_cursor(cursor: str, filters: Any, kinds: Sequence[type]) -> list[Any]:
    """The place of the entry after which the page begins.

    Args:
        cursor: As a client gives it.
        filters: Of the list that is asked for.
        kinds: What a place of this list is made of.

    Raises:
        UsageError: It is not what `make_cursor` gave for these filters; the code is `cursor`.
    """
    value = None
    if len(cursor) <= _LONGEST:
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            value = None
    match value:
        case [*place, str(sign)] if [*map(type, place)] == [*kinds] and sign == _sign(place, filters):
            return place
    raise UsageError(
        "The cursor is not of this list.",
        hint="Take `next_cursor` of the page before, with the same filters; without a cursor it begins anew.",
        code="cursor",
    )


def _sign(place: Sequence[str | float], filters: Any) -> str:
    """Tells what we gave from what somebody made up: a mistake, not an attack, is to be found."""
    return digest([*place, filters])[:16]
