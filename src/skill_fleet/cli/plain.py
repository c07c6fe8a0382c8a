"""Text from anywhere, safe for a terminal: what would move its cursor or colour it is shown, not done."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: object) -> str:
    """The text with control characters, direction marks and broken surrogates written as escapes.

    Tabs and newlines stay.
    """
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), str(text))


def line(text: object) -> str:
    """The same on one line."""
    return " ".join(plain(text).split())
