"""What the end of a program means, in the vocabulary of failed model calls.

Programs do not agree on exit codes, so their words decide: those that the known command lines and the
providers behind them use. What nothing is known of is a failure that may pass, and may have been billed.
"""

import errno
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedModelError,
)

_FINDS_NO_PROGRAM = frozenset({126, 127})
_FOR_NOW = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC})
_LONGEST_WORDS = 160
_ERROR = re.compile(r"\b(?:error|failed|fatal|denied|invalid|limit|cannot|not)\b", re.IGNORECASE)
_WAIT = re.compile(
    r"(?:try again|retry|wait|reset)[^.\n]{0,40}?\b(?:in|after|for)\s+(\d+(?:\.\d+)?)\s*"
    r"(ms|milliseconds?|s|sec|seconds?|m|min|minutes?)\b",
    re.IGNORECASE,
)

_SLOWER = "Lower in_flight or rpm of this model."
_RENEWED = "Its subscription or credit is used up: resume the run when it is renewed."


class NotStarted(LMTransportError):
    """The program could not be started now; nothing was asked and nothing billed."""


@dataclass(frozen=True)
class _Kind:
    words: re.Pattern[str]
    error: Callable[..., LMError]
    advice: str


def _kind(error: Callable[..., LMError], advice: str, *words: str) -> _Kind:
    return _Kind(re.compile("|".join(words), re.IGNORECASE), error, advice)


# The first that fits decides: a quota by the minute is a rate limit, one by the day or week is used up.
_KINDS = (
    _kind(
        ContextWindowExceededError,
        "Use a model with a longer context or fewer demonstrations.",
        r"(?:prompt|input) is too long",
        r"maximum context",
        r"context[ _](?:length|window)",
        r"too many tokens",
    ),
    _kind(
        LMBillingError,
        _RENEWED,
        r"insufficient[ _]quota",
        r"per[ _-]?day\b",
        r"credit balance",
        r"out of credits?",
        r"payment required|\b402\b",
        r"(?:usage|session|hour|daily|weekly|monthly|spend(?:ing)?) limit",
        r"(?:hit|reached|exceeded) your (?!.{0,20}rate)[\w ()-]{0,30}limit",
    ),
    _kind(
        LMRateLimitError,
        _SLOWER,
        r"per[ _-]?(?:minute|second)",
        r"rate[ _-]?limit",
        r"too many requests|\b429\b",
        r"throttl",
    ),
    _kind(
        LMBillingError,
        _RENEWED,
        r"quota (?:is )?(?:exceeded|exhausted|reached)",
        r"exceeded your (?:current )?quota",
        r"\bbilling\b",
    ),
    _kind(LMRateLimitError, _SLOWER, r"resource[ _]?exhausted"),
    _kind(
        LMAuthError,
        "Log in with the program itself, or name its key's variable in command_env of this model.",
        r"not logged in",
        r"(?:please|must|need to|have to) (?:run )?\S{0,8} ?(?:log|sign)[ -]?in",
        r"unauthori[sz]ed|authenticat|\b401\b|\b403\b",
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
        r"\b(?:500|502|503|504|529)\b",
    ),
)

# What some programs print as if it were the answer, with exit status 0.
_INSTEAD = re.compile(
    r"(?:claude ai )?usage limit reached"
    r"|you['’]ve (?:hit|reached) your [\w ]{0,30}limit"
    r"|credit balance is too low"
    r"|not logged in"
    r"|invalid api key"
    r"|please run /?login"
    r"|api error: \d{3}\b"
    r"|prompt is too long$",
    re.IGNORECASE,
)
LONGEST_INSTEAD = 300
"""Characters of what may be a message in place of an answer."""


def failed(program: str, status: int, words: str, output: str, model: str) -> LMError:
    """The failure that an exit status other than 0 is.

    Args:
        program: Its name.
        status: Its exit status, negative for a signal.
        words: What it said on its standard error.
        output: What it printed.
        model: The model's name.
    """
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    message = f"{program} {how}{_said(words, output)}"
    if status in _FINDS_NO_PROGRAM:
        return _error(
            LMConfigurationError, message, model, "Run the command line by hand to see what it lacks."
        )
    # What it printed counts where its standard error says nothing that is known: it may be half an answer.
    return (
        _typed(words, message, model)
        or (_typed(output, message, model) if len(output) <= LONGEST_INSTEAD else None)
        or _error(LMServerError, message, model, _why_ended(status), code="command_failed")
    )


def _said(words: str, output: str) -> str:
    """What it said of its failure; what it printed may be anything, and is called that."""
    said, printed = _telling(words), _telling(output)
    if said:
        return f": {said}"
    return f", without a word of why; it printed: {printed}" if printed else ", and said nothing"


def _why_ended(status: int) -> str:
    """What to do about an end that nothing else is known of."""
    if status == -signal.SIGKILL:
        return "Too much memory may be why: lower in_flight of this model, and resume the run."
    if status < 0:
        return "It was ended, or crashed: run its command line by hand to see which, then resume the run."
    return "Run its command line by hand to see why, then resume the run."


def said_instead(program: str, output: str, model: str) -> LMError | None:
    """The failure that a program told in place of an answer, with exit status 0; None of an answer."""
    text = output.strip()
    if len(text) > LONGEST_INSTEAD or _INSTEAD.match(text) is None:
        return None
    message = f"{program} said instead of an answer: {_telling(text)}"
    return _typed(text, message, model) or _error(LMServerError, message, model, "", code="command_failed")


def timed_out(program: str, seconds: float, model: str) -> LMError:
    """It took longer than `timeout` of the model."""
    advice = "Raise timeout of this model (below 120), or lower its in_flight."
    return _error(
        LMTimeoutError, f"{program} gave no answer within {seconds:g} s and was ended", model, advice
    )


def stopped(program: str, model: str) -> LMError:
    """It was ended since nobody waits for its answer any more."""
    return _error(LMTransportError, f"{program} was ended: nobody waits for its answer", model, "")


def printed_too_much(program: str, megabytes: int, model: str) -> LMError:
    """It printed more than any answer is; it may well have been billed."""
    message = f"{program} printed more than {megabytes} MB and was ended"
    return _unreadable(message, model, "Have it print the answer alone: see what options it has for that.")


def no_text(program: str, place: int, model: str) -> LMError:
    """It printed bytes that are no text; it may well have been billed."""
    message = f"{program} printed what is no UTF-8 text (byte {place})"
    return _unreadable(message, model, "Have it print UTF-8; many programs look at LANG, which it gets.")


def _unreadable(message: str, model: str, advice: str) -> LMError:
    return _error(LMProviderError, message, model, advice, code="malformed", status=200)


def not_started(program: str, error: OSError, model: str) -> LMError:
    """It did not begin: for good where the file is the reason, else for now."""
    reason = error.strerror or str(error)
    message = f"{program} cannot be started: {reason}"
    if error.errno in _FOR_NOW:
        return _error(NotStarted, message, model, "Lower in_flight of this model, and resume the run.")
    advice = "Check the program and its place in command of this model."
    return _error(LMConfigurationError, message, model, advice)


def _typed(text: str, message: str, model: str) -> LMError | None:
    for kind in _KINDS:
        if kind.words.search(text):
            more = {"retry_after": _asked(text)} if kind.error is LMRateLimitError else {}
            return _error(kind.error, message, model, kind.advice, **more)
    return None


def _error(kind: Callable[..., LMError], message: str, model: str, advice: str, **more: object) -> LMError:
    error = kind(message=message, model=model, **more)
    error.advice = advice
    return error


def _asked(text: str) -> float | None:
    """Seconds it was asked to wait, or None."""
    found = _WAIT.search(text)
    if found is None:
        return None
    unit = found[2].lower()
    scale = 0.001 if unit.startswith(("ms", "mil")) else 60.0 if unit.startswith("m") else 1.0
    return float(found[1]) * scale


def _telling(text: str) -> str:
    """The line that says most: the first that sounds like an error, else the last."""
    lines = [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]
    telling = next((line for line in lines if _ERROR.search(line)), lines[-1] if lines else "")
    return telling[:_LONGEST_WORDS].rstrip(".")
