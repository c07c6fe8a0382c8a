"""What command lines, and the providers behind them, say of a failure, and what each means.

Numbers count where they are told as a status: a bare one may be a line of a program or a part of an id.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMRateLimitError,
    LMServerError,
    LMUnsupportedModelError,
)

_SLOWER = "Lower in_flight or rpm of this model."
_RENEWED = "Its subscription or credit is used up: resume the run when it is renewed."


@dataclass(frozen=True)
class Kind:
    """One kind of failure.

    Attributes:
        words: What is said of it.
        error: What it is.
        advice: What to do about it.
    """

    words: re.Pattern[str]
    error: Callable[..., LMError]
    advice: str


def _kind(error: Callable[..., LMError], advice: str, *words: str) -> Kind:
    return Kind(re.compile("|".join(words), re.IGNORECASE), error, advice)


def _status(*numbers: int) -> str:
    """`HTTP 503`, `HTTP/1.1 503`, `status=429`, `Error code: 429`, `"code": 429`, `API Error: 529`."""
    known = "|".join(str(number) for number in numbers)
    return rf"\b(?:https?(?:/[\d.]+)?|status|error|code)[\"' :=(]{{1,4}}(?:{known})\b(?![:.]\d)"


# The first that fits decides: a quota by the minute is a rate limit, one by the day or week is used up.
KINDS = (
    _kind(
        ContextWindowExceededError,
        "Use a model with a longer context or fewer demonstrations.",
        r"(?:prompt|input) is too long",
        r"maximum context",
        r"context[ _](?:length|window|size)[ _](?:\w+ ){0,3}(?:exceed|full|too)",
        r"(?:exceed\w*|beyond|room in)\b.{0,60}\bcontext[ _](?:length|window|size)",
        r"too many tokens",
    ),
    _kind(
        LMBillingError,
        _RENEWED,
        r"insufficient[ _]quota",
        r"per[ _-]?day\b",
        r"credit balance",
        r"out of credits?",
        r"payment required",
        _status(402),
        r"(?:usage|session|hour|daily|weekly|monthly|spend(?:ing)?) limit",
        r"(?:hit|reached|exceeded) your (?!.{0,20}rate)[\w ()-]{0,30}limit",
    ),
    _kind(
        LMRateLimitError,
        _SLOWER,
        r"per[ _-]?(?:minute|second)",
        r"rate[ _-]?limit",
        r"too many requests",
        _status(429),
        r"throttl",
    ),
    _kind(
        LMBillingError,
        _RENEWED,
        r"quota (?:is )?(?:exceeded|exhausted|reached)",
        r"exceeded your (?:current )?quota",
        r"\bbilling\b",
    ),
    _kind(LMRateLimitError, _SLOWER, r"resource[ _]?(?:has been )?exhausted"),
    _kind(
        LMAuthError,
        "Log in with the program itself, or name its key's variable in command_env of this model.",
        r"not logged in",
        r"(?:please|must|need to|have to) (?:run )?\S{0,8} ?(?:log|sign)[ -]?in",
        r"unauthori[sz]ed",
        _status(401, 403),
        r"\b(?:no|not|cannot|must|failed to|please|need to) (?:re-?)?authenticat",
        r"authentication[ _](?:is |has )?(?:error|fail|required|expired|denied|needed)",
        r"(?:invalid|incorrect|missing|no|set|find)\b[\w ]{0,20}\b(?:api[ _]?key|credentials?|token)",
        r"(?:api[ _]?key|credentials?|token)\b[\w ]{0,12}(?:invalid|incorrect|missing|expired|not )",
        r"no key found",
    ),
    _kind(
        LMUnsupportedModelError,
        "Check the model's name with the program itself.",
        r"model\b.{0,60}not (?:found|exist|supported|available)",
        r"(?:unknown|invalid|no such) model",
    ),
    _kind(
        LMConfigurationError,
        "Its version may know other options: write its command line in command of this model.",
        r"(?:unknown|unrecognized|unexpected|invalid|no such) (?:option|argument|flag|command)",
        r"unknown shorthand",
    ),
    _kind(
        LMServerError,
        "",
        r"overloaded",
        r"(?:service|temporarily) unavailable",
        r"internal server error|bad gateway",
        _status(500, 502, 503, 504, 529),
    ),
)

INSTEAD = re.compile(
    r"(?:claude ai )?usage limit reached"
    r"|you['’]ve (?:hit|reached) your [\w ]{0,30}limit"
    r"|credit balance is too low"
    r"|not logged in"
    r"|invalid api key"
    r"|please run /?login"
    r"|api error(?=$|\s*[:(])"
    r"|prompt is too long$",
    re.IGNORECASE,
)
"""What some programs print as if it were the answer, with exit status 0."""
