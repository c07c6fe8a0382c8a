"""Opaque cursors: where the next page of a list begins, and of which list."""

import base64
import binascii
import json

from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UsageError

_LONGEST = 4000


def make_cursor(after: str, **filters: str) -> str:
    """The cursor of the page after an entry, in a list with these filters."""
    value = json.dumps([after, digest(filters)[:12]])
    return base64.urlsafe_b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def read_cursor(cursor: str, **filters: str) -> str:
    """The entry after which the page begins.

    Raises:
        UsageError: It is no cursor of ours, or one of a list with other filters; the code is `cursor`.
    """
    if len(cursor) <= _LONGEST:
        try:
            padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
            value = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            value = None
        match value:
            case [str(after), str(of)] if of == digest(filters)[:12]:
                return after
    raise UsageError(
        "The cursor is not of this list.",
        hint="Take `next_cursor` of the page before, with the same filters; without a cursor it begins anew.",
        code="cursor",
    )
