"""What providers say of their limits in the headers of a response. All of it is input from outside.

OpenAI and those who follow it: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, with resets such as
`6m0s` or `20ms`. Anthropic: `anthropic-ratelimit-{requests,tokens,…}-{limit,remaining,reset}`, with RFC 3339
times. Others send seconds, or seconds or milliseconds since 1970. What makes no sense is ignored.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["requests", "tokens"]

_LONGEST = 64
_MOST = 10**12
_WHOLE = re.compile(r"[0-9]{1,13}(?:\.0+)?")
_NUMBER = re.compile(r"[0-9]{1,14}(?:\.[0-9]{1,12})?")
_DURATION = re.compile(
    r"(?:(?P<d>\d{1,3})d)?(?:(?P<h>\d{1,4})h)?(?:(?P<m>\d{1,6})m(?!s))?"
    r"(?:(?P<s>\d{1,8}(?:\.\d{1,12})?)s)?(?:(?P<ms>\d{1,10}(?:\.\d{1,12})?)ms)?",
    re.ASCII,
)
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NAMES: dict[Kind, tuple[tuple[str, str], ...]] = {
    "requests": (
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ),
    "tokens": (
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
        ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    ),
}


@dataclass(frozen=True)
class Left:
    """What is left of one limit.

    Attributes:
        remaining: Requests or tokens.
        reset: Seconds until there is more.
    """

    remaining: int
    reset: float


def left(found: Mapping[str, str], now: float) -> dict[Kind, Left]:
    """What a response says is left, of requests and of tokens; the scarcest where several limits are named.

    Args:
        found: Headers, in any case.
        now: Seconds since 1970, for headers that name a time.
    """
    headers = {str(name).lower(): str(value).strip() for name, value in found.items()}
    said: dict[Kind, Left] = {}
    for kind, names in _NAMES.items():
        for remaining, reset in names:
            one = _left(headers.get(remaining), headers.get(reset), now)
            if one is not None and (kind not in said or one.remaining < said[kind].remaining):
                said[kind] = one
    return said


def _left(remaining: str | None, reset: str | None, now: float) -> Left | None:
    if remaining is None or reset is None or not _WHOLE.fullmatch(remaining):
        return None
    count, seconds = int(remaining.partition(".")[0]), duration(reset, now)
    return None if seconds is None or count > _MOST else Left(count, seconds)


def duration(text: str, now: float) -> float | None:
    """Seconds from now, of a duration, a number of seconds or a time; None where it is none of these."""
    if not text or len(text) > _LONGEST:
        return None
    if _NUMBER.fullmatch(text):
        return _from_number(float(text), now)
    parts = _DURATION.fullmatch(text)
    if parts is not None:
        return sum(float(value) * _UNITS[unit] for unit, value in parts.groupdict().items() if value)
    return _from_date(text, now)


def _from_number(value: float, now: float) -> float | None:
    if value > 1e12:
        value /= 1000.0
    seconds = value - now if value > 1e9 else value
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _from_date(text: str, now: float) -> float | None:
    try:
        at = dt.datetime.fromisoformat(text)
        seconds = at.timestamp() - now if at.tzinfo is not None else math.nan
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
