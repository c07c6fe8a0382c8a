"""What a failed model call means: try again, give this one up, or stop everything.

DSPy's public errors are the vocabulary; `dspy.utils.exceptions` lists them.
"""

from dataclasses import dataclass
from typing import Literal

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMNotConfiguredError,
    LMProviderError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    is_retryable_lm_error,
)

from skill_fleet.foundation.errors import KeyMissing, ProviderError

Remedy = Literal["retry", "give_up", "stop"]

_ADVICE: dict[str, str] = {
    "auth": "Check the key in the environment variable of this model.",
    "billing": "Check the account's quota and billing with the provider.",
    "unsupported_model": "Check the model's name: skill-fleet models.",
    "not_configured": "Set the key in the environment variable of this model.",
    "truncated": "Raise max_tokens of this model.",
    "context_window_exceeded": "Use a model with a longer context or fewer demonstrations.",
}


class UnusableAnswer(LMProviderError):
    """The provider answered, and was paid, but the answer is cut off, filtered or empty."""

    default_code = "unusable"


@dataclass(frozen=True)
class Failure:
    """A failed attempt, understood.

    Attributes:
        code: Stable short name: `auth`, `rate_limit`, `truncated`, …
        remedy: `retry` for what passes by itself, `give_up` for what this request will always meet, `stop`
            for what every request will meet.
        sent: Whether the request reached the provider and may have been billed.
        retry_after: Seconds the provider asked to wait, or None.
    """

    code: str
    remedy: Remedy
    sent: bool
    retry_after: float | None = None


def understand(error: Exception) -> Failure:
    """What a failed attempt means."""
    code = str(getattr(error, "code", None) or type(error).__name__)
    after = getattr(error, "retry_after", None)
    if isinstance(error, UnusableAnswer):
        return Failure(code, "give_up" if code == "content_filter" else "retry", sent=True)
    if isinstance(error, ContextWindowExceededError):
        return Failure(code, "give_up", sent=False)
    stop = (LMAuthError, LMBillingError, LMUnsupportedModelError, LMNotConfiguredError, LMConfigurationError)
    if isinstance(error, (*stop, LMUnsupportedFeatureError, ImportError)):
        return Failure(code, "stop", sent=False)
    if isinstance(error, LMInvalidRequestError):
        return Failure(code, "give_up", sent=False)
    if isinstance(error, LMUnexpectedError) or is_retryable_lm_error(error):
        return Failure(code, "retry", sent=code not in {"rate_limit", "transport"}, retry_after=after)
    return Failure(code, "give_up" if isinstance(error, LMError) else "stop", sent=True)


def explained(error: Exception, failure: Failure, model: str) -> ProviderError:
    """The failure as one sentence for the user, without anything the provider echoed of the key."""
    kind = KeyMissing if failure.code == "not_configured" else ProviderError
    text = " ".join(str(getattr(error, "message", None) or error).split())
    if len(text) > 200:
        text = text[:200] + "…"
    return kind(
        f"The model {model} failed ({failure.code}): {text.rstrip('.')}.",
        hint=_ADVICE.get(failure.code, "Resume the run when the provider answers again."),
        code=failure.code,
    )
