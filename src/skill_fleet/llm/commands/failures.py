"""What the end of a program means, in the vocabulary of failed model calls.

Programs do not agree on exit codes, so their words decide: those that the known command lines and the
providers behind them use. What nothing is known of is a failure that may pass, and may have been billed.
"""

import errno
import re
import signal
from collections.abc import Callable, Iterable

from dspy.utils.exceptions import (
    LMConfigurationError,
    LMError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
)

from skill_fleet.llm.asked_wait import asked_wait
from skill_fleet.llm.commands.own_words import own_words
from skill_fleet.llm.commands.words import INSTEAD, KINDS
from skill_fleet.llm.failures import redacted

LONGEST_INSTEAD = 300
"""Characters of what may be a message in place of an answer."""

_FINDS_NO_PROGRAM = frozenset({126, 127})
_FOR_NOW = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC})
_LONGEST_WORDS = 160
_NAMED = re.compile(r"^\W{0,3}(?:\w+ )?(?:\w*error|fatal)\b[^:]{0,40}:", re.IGNORECASE)
_ERROR = re.compile(r"\b(?:error|failed|fatal|denied|invalid|limit|cannot|not)\b", re.IGNORECASE)


class NotStarted(LMTransportError):
    """The program could not be started now; nothing was asked and nothing billed."""


def failed(program: str, status: int, words: str, output: str, model: str, prompt: str = "") -> LMError:
    """The failure that an exit status other than 0 is.

    Args:
        program: Its name.
        status: Its exit status, negative for a signal.
        words: What it said on its standard error.
        output: What it printed.
        model: The model's name.
        prompt: What it read; some repeat it on their standard error.
    """
    words = own_words(words, prompt)
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


def status_unknown(program: str, model: str) -> LMError:
    """It ended, and the system kept nobody informed of how: what it printed may be half an answer."""
    message = f"{program} ended, and its exit status was lost: this process ignores SIGCHLD, or another part"
    advice = "Start it with the default handling of SIGCHLD (env --default-signal=CHLD)."
    return _error(LMServerError, f"{message} of it reaps its children", model, advice, code="command_failed")


def said_instead(program: str, output: str, model: str, secrets: Iterable[str] = ()) -> LMError | None:
    """The failure that a program told in place of an answer, with exit status 0; None of an answer.

    Args:
        program: Its name.
        output: What it printed.
        model: The model's name.
        secrets: Taken out of what is told, before it is cut short.
    """
    text = output.strip()
    if len(text) > LONGEST_INSTEAD or INSTEAD.match(text) is None:
        return None
    text = redacted(text, secrets)
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
    for kind in KINDS:
        if kind.words.search(text):
            more = {"retry_after": asked_wait(text)} if kind.error is LMRateLimitError else {}
            return _error(kind.error, message, model, kind.advice, **more)
    return None


def _error(kind: Callable[..., LMError], message: str, model: str, advice: str, **more: object) -> LMError:
    error = kind(message=message, model=model, **more)
    error.advice = advice
    return error


def _telling(text: str) -> str:
    """The line that says most: the first that names itself an error, or sounds like one, else the last."""
    lines = [line for line in (" ".join(line.split()) for line in text.splitlines()) if line]
    sounding = (line for sound in (_NAMED, _ERROR) for line in lines if sound.search(line))
    telling = next(sounding, lines[-1] if lines else "")
    return telling[:_LONGEST_WORDS].rstrip(".")
