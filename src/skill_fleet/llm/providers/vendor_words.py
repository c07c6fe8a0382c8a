"""What vendors mean where DSPy's client types an error by its status, or by a word too many.

Each rule is for the answer of some vendor, as its documentation or its own server shows it; `tests/llm/
test_vendor_errors.py` has them all. An error that no rule knows stays as it is.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from dspy.clients.errors import error_boundary
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMError,
    LMInvalidRequestError,
    LMNotConfiguredError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTransportError,
    LMUnsupportedModelError,
)

from skill_fleet.llm.failures import UnusableAnswer

# Anthropic and xAI say so with 400 and 403, others in words of their own.
_NO_MONEY = re.compile(
    r"credit balance is too low|insufficient (?:balance|credits?|funds)|out of credits"
    r"|used all available credits|(?:does ?n.t|not) have any credits|requires more credits"
    r"|reached your specified api usage limits",
    re.IGNORECASE,
)
# Google and xAI answer 400 to a wrong key.
_BAD_KEY = re.compile(r"api key not valid|api key expired|(?:incorrect|invalid) api key", re.IGNORECASE)
# The clients that litellm has for OpenAI, Google and AWS, before they send anything; litellm says 500 to it.
_NO_KEY = re.compile(
    r"missing credentials|unable to locate credentials|default credentials were not found"
    r"|api_key client option must be set",
    re.IGNORECASE,
)
# vLLM, SGLang, llama.cpp, LM Studio, Groq, DeepSeek, Mistral: 400 without OpenAI's code.
_TOO_LONG = re.compile(
    r"maximum context length|context[ _](?:length|window|size)|context the overflows|prompt is too long"
    r"|input is too long|too many tokens|input token count|reduce the length of the messages"
    r"|longer than the model's context",
    re.IGNORECASE,
)
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_NO_MODEL = re.compile(r"not a valid model id|no models? loaded|model .{0,200}\bnot found\b", re.IGNORECASE)
_BY_WORDS: tuple[tuple[re.Pattern[str], type[LMError]], ...] = (
    (_NO_MONEY, LMBillingError),
    (_BAD_KEY, LMAuthError),
    (_TOO_LONG, ContextWindowExceededError),
    (_NO_MODEL, LMUnsupportedModelError),
)
_FLAGGED = re.compile(r"\bflagged\b|requires moderation", re.IGNORECASE)
_WAIT = re.compile(
    r"(?:try again|retry) (?:in|after) (?:(\d{1,4})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d+)?) ?(ms|s)\b)?",
    re.IGNORECASE,
)
# Gemini's reasons to withhold an answer: it came with 200, and was paid.
_WITHHELD = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "promptFeedback"}
)
_BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"})
# A gateway that passes on its upstream's error with 200 puts the status into the error's code.
_BY_CODE: dict[str, type[LMError]] = {
    "401": LMAuthError,
    "402": LMBillingError,
    "403": LMAuthError,
    "429": LMRateLimitError,
}
_TOO_LARGE = 413
_TOO_MANY = 429
_FORBIDDEN = 403


def retyped(error: LMError) -> LMError:
    """The error that a vendor meant; the same one where DSPy's is right.

    The time to wait that a message names (`Please try again in 20s`) is filled in where no header does.
    """
    kind = _kind(error)
    meant = error if kind is None else kind if isinstance(kind, LMError) else _as(kind, error)
    if isinstance(meant, (LMRateLimitError, LMServerError)) and meant.retry_after is None:
        meant.retry_after = _wait_in(meant.message or "")
    return meant


@contextmanager
def typed(model: str, provider: str) -> Iterator[None]:
    """Errors that come out of the block are DSPy's, and such as the vendor meant them.

    Args:
        model: `provider/name`.
        provider: What DSPy is told of whose they are.
    """
    try:
        with error_boundary(model, provider=provider, unexpected=True):
            yield
    except LMError as error:
        meant = retyped(error)
        if meant is error:
            raise
        raise meant from error


def usual_form(body: bytes) -> bytes:
    """The body of an error as `{"error": {"message"}}`, which is where its words are looked for.

    vLLM and Mistral put the fields of an error at the top, servers made with FastAPI into `detail`.
    """
    try:
        said = json.loads(body)
    except ValueError:
        return body
    if not isinstance(said, dict) or said.get("error"):
        return body
    text = said.get("message") or said.get("detail")
    if not text:
        return body
    fields = {name: said[name] for name in ("type", "code") if isinstance(said.get(name), str)}
    return json.dumps(
        {**said, "error": {**fields, "message": text if isinstance(text, str) else str(text)}}
    ).encode()


def _kind(error: LMError) -> type[LMError] | LMError | None:
    said, code = error.message or "", error.provider_code or ""
    if not isinstance(error, LMProviderError):
        untrusted = isinstance(error, LMTransportError) and "CERTIFICATE_VERIFY_FAILED" in said
        return LMConfigurationError if untrusted else None  # it would not pass by itself
    if isinstance(error, LMRateLimitError):
        # Groq: this one request is over what a whole minute allows, and will be again.
        return ContextWindowExceededError if error.status == _TOO_LARGE else None
    if isinstance(error, ContextWindowExceededError):
        # Words like "would exceed the limit of 40,000 input tokens per minute".
        return LMRateLimitError if error.status == _TOO_MANY else None
    if isinstance(error, LMAuthError):
        return _refused_key(error, said)
    if isinstance(error, LMServerError):
        passed_on = _BY_CODE.get(code) if error.status is None or error.status < 300 else None
        return LMNotConfiguredError if _NO_KEY.search(said) else passed_on
    return _bad_request(error, said, code) if isinstance(error, LMInvalidRequestError) else None


def _refused_key(error: LMError, said: str) -> type[LMError] | LMError | None:
    if _NO_MONEY.search(said):
        return LMBillingError
    if error.status == _FORBIDDEN and _FLAGGED.search(said):
        flagged = _as(LMInvalidRequestError, error)
        flagged.provider_code = "content_filter"
        return flagged
    return None


def _bad_request(error: LMError, said: str, code: str) -> type[LMError] | LMError | None:
    if isinstance(error, LMUnsupportedModelError):
        return None
    if code in _WITHHELD:
        withheld = f"The provider's filter withheld the answer: {said}"
        return UnusableAnswer(withheld, code="content_filter", finish_reason=code)
    if code in _BROKEN:
        broken = f"The provider broke the answer off: {said}"
        return UnusableAnswer(broken, code="broken_off", finish_reason=code)
    if code in _TOO_LONG_CODES:
        return ContextWindowExceededError
    return next((kind for words, kind in _BY_WORDS if words.search(said)), None)


def _as(kind: type[LMError], error: LMError) -> LMError:
    """The same facts under another name."""
    return kind(
        message=error.message,
        model=error.model,
        provider=error.provider,
        provider_code=error.provider_code,
        status=error.status,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )


def _wait_in(said: str) -> float | None:
    """Seconds to wait that a message names: `1m30s`, `20ms`, `6.5s`."""
    found = _WAIT.search(said)
    if found is None or not any(found.groups()[:3]):
        return None
    hours, minutes, rest, unit = found.groups()
    seconds = float(rest or 0) / (1000 if (unit or "").lower() == "ms" else 1)
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
