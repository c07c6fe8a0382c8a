"""What a failed model call means: try again, give this one up, or stop everything.

DSPy's public errors are the vocabulary; `dspy.utils.exceptions` lists them.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMLockTimeoutError,
    LMNotConfiguredError,
    LMProviderError,
    LMRateLimitError,
    LMTimeoutError,
    LMTransportError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    is_retryable_lm_error,
)

from skill_fleet.foundation.errors import KeyMissing, ProviderError
from skill_fleet.foundation.redaction import without_keys, without_secrets

Remedy = Literal["retry", "give_up", "stop"]

_ADVICE: dict[str, str] = {
    "auth": "Check the key in the environment variable of this model.",
    "billing": "Check the account's quota and billing with the provider.",
    "unsupported_model": "Check the model's name: skill-fleet models.",
    "not_found": "Check the model's name and its api_base: skill-fleet models.",
    "invalid_request": "Check the model's settings: the provider refuses such requests.",
    "rate_limit": "Lower rpm, tpm or in_flight of this model, and resume the run.",
    "content_filter": "Use another model for such tasks, or leave the example out.",
    "not_configured": "Set the key in the environment variable of this model.",
    "truncated": "Raise max_tokens of this model.",
    "context_window_exceeded": "Use a model with a longer context or fewer demonstrations.",
}
_LATER = "Resume the run when the provider answers again."
_UNREACHED = "Check the network, and that a server runs at the model's api_base; then resume the run."
# How providers name what their filter refuses before any work: not a fault of the request's form.
_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_NOT_FOUND = 404
# What led to an error where nothing of the request went out; by name, so that no client library is loaded.
_UNSENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "ConnectionRefusedError",
        "LocalProtocolError",
        "NotStarted",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "gaierror",
    }
)
# Of what a vendor says as much is told: whole sentences together, and one alone.
_LONGEST_WORDS = 160
_LONGEST_SENTENCE = 200
_SENTENCE_END = re.compile(r"(?<=[.!?]) +(?=[A-Z(\"'])")
_ATTEMPTS = "_attempts_at_the_call"
_BEGUN = "_answer_had_begun"


class UnusableAnswer(LMProviderError):
    """The provider answered, and was paid, but the answer is cut off, filtered or empty.

    Args:
        message: Why it is of no use.
        code: Stable short name.
        finish_reason: Why the provider ended the answer, in its words; None where it did not say.
    """

    default_code = "unusable"

    def __init__(self, message: str, *, code: str, finish_reason: str | None = None) -> None:
        super().__init__(message, code=code)
        self.finish_reason = finish_reason


@dataclass(frozen=True)
class Failure:
    """A failed attempt, understood.

    Attributes:
        code: Stable short name: `auth`, `rate_limit`, `truncated`, …
        remedy: `retry` for what passes by itself, `give_up` for what this request will always meet, `stop`
            for what every request will meet.
        sent: Whether the request reached the provider and may have been billed.
        retry_after: Seconds the provider asked to wait, or None.
        answered: Whether there was an answer, only of no use or in no form that can be read: the provider is
            there, whatever is wrong with what it says.
    """

    code: str
    remedy: Remedy
    sent: bool
    retry_after: float | None = None
    answered: bool = False

    @property
    def unreached(self) -> bool:
        """Whether nothing came about to send the request over, such as a connection."""
        return not self.sent and self.code in {"transport", "timeout"}


def understand(error: Exception, around: BaseException | None = None) -> Failure:
    """What a failed attempt means.

    Args:
        error: What it failed with.
        around: What its caller was handling when he made the attempt, by `sys.exc_info`: Python takes that
            for what led to the error, and it may be of a call to another model.
    """
    failure = _understood(error, around)
    return replace(failure, sent=True) if error.__dict__.get(_BEGUN) else failure


def _understood(error: Exception, around: BaseException | None) -> Failure:
    code = str(getattr(error, "code", None) or type(error).__name__)
    after = getattr(error, "retry_after", None)
    if isinstance(error, UnusableAnswer):
        return Failure(code, "give_up" if code == "content_filter" else "retry", sent=True, answered=True)
    if isinstance(error, ContextWindowExceededError):
        return Failure(code, "give_up", sent=False)
    stop = (LMAuthError, LMBillingError, LMUnsupportedModelError, LMNotConfiguredError, LMConfigurationError)
    if isinstance(error, (*stop, LMUnsupportedFeatureError, ImportError)):
        return Failure(code, "stop", sent=False)
    if isinstance(error, LMInvalidRequestError):
        return _turned_down(error, code)
    passing = is_retryable_lm_error(error)
    if passing or isinstance(error, LMUnexpectedError) or _malformed(error):
        return Failure(code, "retry", sent=_sent(error, around), retry_after=after, answered=not passing)
    turned_away = isinstance(error, LMProviderError) and 300 <= (error.status or 0) < 500
    return Failure(code, "give_up" if isinstance(error, LMError) else "stop", sent=not turned_away)


def _turned_down(error: LMInvalidRequestError, code: str) -> Failure:
    """A request that the provider will not work on, which costs nothing."""
    if error.provider_code in _FILTERED:
        return Failure("content_filter", "give_up", sent=False)
    if error.status == _NOT_FOUND:
        return Failure("not_found", "stop", sent=False)
    return Failure(code, "give_up", sent=False)


def _malformed(error: Exception) -> bool:
    """Whether the provider said that all is well, in a form that cannot be read."""
    return isinstance(error, LMProviderError) and error.status is not None and error.status < 300


def _sent(error: Exception, around: BaseException | None) -> bool:
    """Whether a passing failure may have been billed: the request went out and was not turned away."""
    if isinstance(error, (LMTransportError, LMTimeoutError)):
        # No connection was made. Any other break, a read that timed out too, may have come after the work.
        return not {type(cause).__name__ for cause in _chain(error, around)} & _UNSENT
    return not isinstance(error, (LMRateLimitError, LMLockTimeoutError))


def note_begun(error: Exception) -> None:
    """Keep with an error that some of the answer had come before it: whatever it is, that may be billed."""
    error.__dict__[_BEGUN] = True


def note_attempts(error: Exception, number: int) -> None:
    """Keep with an error how many attempts were made at the call that it ended."""
    error.__dict__[_ATTEMPTS] = number


def attempts_at(error: Exception) -> int | None:
    """How many attempts were made at the call that an error ended; None where nobody noted it."""
    return error.__dict__.get(_ATTEMPTS)


def _chain(error: BaseException, around: BaseException | None = None) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and link is not around and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def advice(code: str) -> str:
    """What to do about failures of a kind; an empty string where that depends."""
    return _ADVICE.get(code, "")


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without keys: the given ones, and whatever looks like one."""
    return without_keys(without_secrets(text, secrets, "[key]"))


def redact(error: BaseException, secrets: Iterable[str] = ()) -> None:
    """Take the keys out of an error and out of everything that led to it, in place."""
    known = tuple(secrets)
    for link in _chain(error):
        link.args = tuple(redacted(part, known) if isinstance(part, str) else part for part in link.args)
        for name, value in vars(link).items():
            if isinstance(value, str):
                setattr(link, name, redacted(value, known))


def _beginning(text: str) -> str:
    """The first sentences of a text, as many as make a line; at least one, cut off where it is long."""
    first, *others = _SENTENCE_END.split(text)
    kept = first if len(first) <= _LONGEST_SENTENCE else first[:_LONGEST_SENTENCE] + "…"
    for sentence in others:
        if len(kept) + 1 + len(sentence) > _LONGEST_WORDS:
            break
        kept += f" {sentence}"
    return kept


@contextmanager
def redacting(secrets: Iterable[str]) -> Iterator[None]:
    """Errors that come out of the block have no keys in them."""
    try:
        yield
    except Exception as error:
        redact(error, secrets)
        raise


def explained(error: Exception, failure: Failure, model: str) -> ProviderError:
    """The failure as one sentence for the user, without anything the provider echoed of the key."""
    variables = getattr(error, "env_keys", None) or ()
    if failure.code == "not_configured" and variables:
        return KeyMissing(
            f"The model {model} has no key: {' or '.join(variables)} is not set in the environment.",
            hint=f"export {variables[0]}=…",
            code=failure.code,
        )
    kind = KeyMissing if failure.code == "not_configured" else ProviderError
    said = str(getattr(error, "message", None) or error).strip()
    text = _beginning(redacted(" ".join(said.split("\n\n")[0].split())))
    reason = getattr(error, "finish_reason", None)
    why = failure.code if reason is None else f"{failure.code}, finish_reason {reason}"
    attempts = attempts_at(error)
    often = "" if attempts in {None, 1} else f" after {attempts} attempts"
    return kind(
        f"The model {model} failed ({why}){often}: {text.rstrip('.')}.",
        hint=getattr(error, "advice", "")
        or _ADVICE.get(failure.code, _UNREACHED if failure.unreached else _LATER),
        code=failure.code,
        attempts=attempts,
        finish_reason=reason,
    )
