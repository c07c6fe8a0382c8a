"""What vendors mean where DSPy's client types an error by its status, or by a word too many.

What they say is in `vendor_tables`; here is when it is looked at. An error that no rule knows stays as it is.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

from skill_fleet.llm.asked_wait import asked_wait
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.providers import vendor_tables as tables

_TOO_LARGE = 413
_TOO_MANY = 429
_UNAUTHORIZED = 401
_FORBIDDEN = 403


def retyped(error: LMError) -> LMError:
    """The error that a vendor meant; the same one where DSPy's is right.

    The time to wait that a message names (`Please try again in 20s`) is filled in where no header does.
    """
    passed_on = _passed_on(error)
    kind = _kind(passed_on)
    meant = passed_on if kind is None else kind if isinstance(kind, LMError) else _as(kind, passed_on)
    if isinstance(meant, (LMRateLimitError, LMServerError)) and meant.retry_after is None:
        meant.retry_after = asked_wait(meant.message or "")
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
    OpenRouter tells that a provider behind it failed; what that one said is in `metadata`.
    """
    said = _read(body)
    if not isinstance(said, dict):
        return body
    if error := said.get("error"):
        behind = _said_behind(error)
        return (
            body if behind is None else json.dumps({**said, "error": {**error, "message": behind}}).encode()
        )
    text = said.get("message") or said.get("detail")
    if not text:
        return body
    fields = {name: said[name] for name in ("type", "code") if isinstance(said.get(name), str)}
    return json.dumps(
        {**said, "error": {**fields, "message": text if isinstance(text, str) else str(text)}}
    ).encode()


def _read(text: bytes | str) -> Any:
    """None of what is no JSON, and of what no reader gets to the ground of."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _said_behind(error: Any) -> str | None:
    """What a provider behind the one asked said, after the words of the latter; None of a silent one."""
    about = error.get("metadata") if isinstance(error, dict) else None
    if not isinstance(about, dict):
        return None
    raw = about.get("raw")
    if not isinstance(raw, str) or not raw.strip():
        return None
    whole = _read(usual_form(raw.encode("utf-8", "replace")))
    first = whole[0] if isinstance(whole, list) and whole else whole  # Google's are in a list
    inner = first.get("error") if isinstance(first, dict) else None
    text = inner.get("message") if isinstance(inner, dict) else inner
    said = text if isinstance(text, str) and text.strip() else raw
    heads = (error.get("message"), about.get("provider_name"))
    return ": ".join([*(head for head in heads if isinstance(head, str) and head), said.strip()])


def _passed_on(error: LMError) -> LMError:
    """The error that came with 200 or in a stream, as what its code says, where that is a status."""
    untyped = type(error) in {LMProviderError, LMServerError} and (error.status or 0) < 300
    code = error.provider_code or ""
    if not untyped or len(code) != 3 or not code.isdecimal():
        return error
    kind = tables.of_status(int(code))
    return error if kind is None else _as(kind, error, int(code))


def _kind(error: LMError) -> type[LMError] | LMError | None:  # noqa: PLR0911 - one line a type
    said = error.message or ""
    if not isinstance(error, LMProviderError):
        untrusted = isinstance(error, LMTransportError) and "CERTIFICATE_VERIFY_FAILED" in said
        return LMConfigurationError if untrusted else None  # it would not pass by itself
    if (sure := tables.BY_CODE.get(error.provider_code or "")) is not None:
        return sure
    if isinstance(error, LMRateLimitError):
        return _turned_away(error, said)
    if isinstance(error, ContextWindowExceededError):
        return _no_length(error, said)
    if isinstance(error, LMAuthError):
        return _refused_key(error, said)
    if isinstance(error, LMServerError):
        return LMNotConfiguredError if tables.NO_KEY.search(said) else None
    if isinstance(error, LMInvalidRequestError):
        return _bad_request(error, said)
    return _untyped(error, said) if type(error) is LMProviderError else None


def _turned_away(error: LMError, said: str) -> type[LMError] | None:
    if tables.NO_MONEY.search(said) or tables.NO_QUOTA.search(said):
        return LMBillingError
    # Groq says 413 where this one request is over what a whole minute allows, OpenAI 429: it always will be.
    never = error.status == _TOO_LARGE or _never_fits(said)
    return ContextWindowExceededError if never else None


def _never_fits(said: str) -> bool:
    """Whether one request needs more than a whole minute has room for."""
    found = tables.ROOM_AND_NEED.search(said)
    return found is not None and 0 < int(found["room"]) < int(found["need"])


def _no_length(error: LMError, said: str) -> type[LMError] | None:
    """What is no matter of length, though "limit", "exceed" and "token" are in its words."""
    if error.status == _TOO_MANY:
        return _turned_away(error, said) or LMRateLimitError
    return LMAuthError if error.status in {_UNAUTHORIZED, _FORBIDDEN} else None


def _refused_key(error: LMError, said: str) -> type[LMError] | LMError | None:
    if tables.NO_MONEY.search(said):
        return LMBillingError
    return _filtered(error) if error.status == _FORBIDDEN and tables.FLAGGED.search(said) else None


def _bad_request(error: LMError, said: str) -> type[LMError] | LMError | None:
    if isinstance(error, LMUnsupportedModelError):
        return None
    if (unusable := _unusable(error.provider_code or "", said)) is not None:
        return unusable
    if tables.FLAGGED.search(said):
        return _filtered(error)
    if tables.RESTRICTED.search(said):
        shut = _as(LMAuthError, error)
        shut.advice = "The provider has shut this account: ask its support."
        return shut
    return _by_words(said)


def _unusable(code: str, said: str) -> UnusableAnswer | None:
    """The answer that was worked on, and is withheld or broken off; None of an error that is none."""
    reason: str | None = code
    if code == tables.IN_A_STREAM:
        told = tables.STREAMED_REASON.search(said)
        reason = None if told is None else "promptFeedback" if told[1] else told[2]
    broken_words = code == tables.IN_A_STREAM and tables.BROKEN_WORDS.search(said)
    if reason in tables.BROKEN or (reason is None and broken_words):
        return UnusableAnswer(
            f"The provider broke the answer off: {said}", code="broken_off", finish_reason=reason
        )
    if reason in tables.WITHHELD or code == tables.IN_A_STREAM or tables.BLOCKED_ANSWER.search(said):
        why = reason if reason in tables.WITHHELD else None
        return UnusableAnswer(
            f"The provider's filter withheld the answer: {said}", code="content_filter", finish_reason=why
        )
    return None


def _untyped(error: LMError, said: str) -> type[LMError] | None:
    """An error of a stream whose code DSPy's client does not know."""
    if error.status is not None or not error.provider_code:
        return None
    return LMServerError if tables.OVERLOADED.search(said) else _by_words(said)


def _by_words(said: str) -> type[LMError] | None:
    return next((kind for words, kind in tables.MEANING if words.search(said)), None)


def _filtered(error: LMError) -> LMError:
    """A question that a filter refuses: nothing was worked on."""
    filtered = _as(LMInvalidRequestError, error)
    filtered.provider_code = "content_filter"
    return filtered


def _as(kind: type[LMError], error: LMError, status: int | None = None) -> LMError:
    """The same facts under another name."""
    return kind(
        message=error.message,
        model=error.model,
        provider=error.provider,
        provider_code=error.provider_code,
        status=error.status if status is None else status,
        request_id=error.request_id,
        retry_after=error.retry_after,
    )
