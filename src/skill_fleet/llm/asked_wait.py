"""How long a message asks to wait, in the words of providers and of command lines.

`try again in 20s`, `retry after 45 seconds`, `1m30.5s`, `300ms`, `1 hour 5 minutes`, `2 days`.
"""

import re

_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT = (
    r"(?P<ms>ms|milli(?:seconds?)?)|(?P<s>s(?:ec(?:ond)?s?)?)|(?P<m>m(?:in(?:ute)?s?)?)"
    r"|(?P<h>h(?:(?:ou)?rs?)?)|(?P<d>d(?:ays?)?)"
)
_PART = re.compile(rf"(?:,? (?:and )?)?(?P<number>{_NUMBER}) ?(?:{_UNIT})(?![a-z])", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:try again|retry|wait|resets?)\b[^.\n]{0,40}?\b(?:in|after|for) (?=\d)", re.IGNORECASE
)


def asked_wait(text: str) -> float | None:
    """Seconds that a text asks to wait; None where it names no time, or a number without a unit."""
    asked = _ASKED.search(text)
    if asked is None:
        return None
    seconds, place = 0.0, asked.end()
    while (part := _PART.match(text, place)) is not None:
        unit = next(name for name in _UNITS if part[name])
        seconds, place = seconds + float(part["number"]) * _UNITS[unit], part.end()
    return seconds if place > asked.end() else None
