"""What vendors say of a failure, in codes and in words, by what it means.

Each entry is of some vendor's documentation, or of its answers as its users report them; `tests/llm/
test_vendor_errors.py` and its neighbours have a body for each, and one beside it that only looks like it.
"""

import re
from collections.abc import Mapping

from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMUnsupportedModelError,
)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


NO_MONEY = _words(
    # Anthropic, with 400
    r"credit balance is too low",
    r"reached your specified api usage limits",
    # OpenRouter and DeepSeek
    r"insufficient (?:balance|credits?|funds)",
    r"out of credits",
    r"requires more credits",
    # xAI, with 403 and with 429
    r"used all available credits",
    r"(?:does ?n.t|not) have any credits",
    # OpenAI, with 400 and with 429
    r"billing hard limit has been reached",
    r"account is not active, please check your billing",
    # Google, with 429
    r"prepay(?:ment)? credits are depleted",
)
"""The account cannot pay. A plain limit may name billing, too: where to get a higher one."""

NO_QUOTA = _words(
    # Google, of a model that is in no free tier
    r"quota exceeded for metric: \S{1,200}, limit: 0\b(?![.,]\d)",
    r"doesn't have a free quota tier",
    # OpenAI, of a model that an account has no share of
    r"\([A-Z]{2,12}\): limit 0\b(?![.,]\d)",
)
"""With 429: the account has none of what it asks for, and will have none in a minute either."""

BAD_KEY = _words(r"api key not valid", r"api key expired", r"(?:incorrect|invalid) api key")
"""Google and xAI answer 400 to a wrong key."""

NO_KEY = _words(
    r"missing credentials",
    r"unable to locate credentials",
    r"default credentials were not found",
    r"api_key client option must be set",
)
"""The clients that litellm has for OpenAI, Google and AWS, before they send anything; litellm says 500."""

RESTRICTED = _words(r"organization has been restricted")
"""Groq answers 400 to whatever an account asks that it has shut."""

FLAGGED = _words(
    # OpenAI with 400, OpenRouter with 403
    r"\b(?:prompt|input|request|content)s? (?:was|were|is|are|has been|have been) flagged",
    r"requires moderation and was flagged",
    # xAI with 403, DeepSeek with 400
    r"content violates usage guidelines",
    r"content exists risk",
)
"""A filter refuses the question."""

BLOCKED_ANSWER = _words(r"output blocked by content filtering policy")
"""Anthropic's filter withholds an answer, whole with 400 or while it comes: it was worked on."""

TOO_LONG = _words(
    # vLLM, SGLang, llama.cpp, LM Studio, Groq, DeepSeek, Mistral: 400 without OpenAI's code
    r"context[ _](?:length|window|size)",
    r"context the overflows",
    r"prompt is too long",
    r"input is too long",
    r"too many tokens",
    r"input token count",
    r"reduce the length of the messages",
    r"longer than the model's context",
)

NO_MODEL = _words(r"not a valid model id", r"no models? loaded", r"model .{0,200}\bnot found\b")

OVERLOADED = _words(r"overloaded", r"server had an error", r"internal (?:server )?error")

MEANING: tuple[tuple[re.Pattern[str], type[LMError]], ...] = (
    (NO_MONEY, LMBillingError),
    (BAD_KEY, LMAuthError),
    (TOO_LONG, ContextWindowExceededError),
    (NO_MODEL, LMUnsupportedModelError),
)
"""What the words of a refused request mean; the first that fits."""

BY_CODE: Mapping[str, type[LMError]] = {
    "billing_not_active": LMBillingError,
    "billing_hard_limit_reached": LMBillingError,
    "context_length_exceeded": ContextWindowExceededError,
    "exceed_context_size_error": ContextWindowExceededError,
    "capacity_exceeded": LMRateLimitError,  # Groq's flex tier, with 498
}
"""Codes that mean one thing, whatever the status."""

BY_STATUS: Mapping[int, type[LMError]] = {
    400: LMInvalidRequestError,
    401: LMAuthError,
    402: LMBillingError,
    403: LMAuthError,
    404: LMInvalidRequestError,
    408: LMTimeoutError,
    413: LMInvalidRequestError,
    422: LMInvalidRequestError,
    429: LMRateLimitError,
    504: LMTimeoutError,
}
"""An error that comes with 200, or among the words of a stream, may have the status in its code."""


def of_status(status: int) -> type[LMError] | None:
    """What a status means; None of one that nobody uses for errors."""
    return BY_STATUS.get(status, LMServerError if 500 <= status < 600 else None)


WITHHELD = frozenset(
    {
        *("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "promptFeedback"),
        *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
    }
)
"""Gemini's reasons to withhold an answer: it came with 200, and was paid."""

BROKEN = frozenset(
    {
        *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
        *("MISSING_THOUGHT_SIGNATURE", "IMAGE_OTHER", "NO_IMAGE"),
    }
)
"""Gemini's reasons to break an answer off."""

IN_A_STREAM = "inband_finish_reason"
"""The code that DSPy's client gives to both in a stream, where the reason stands in the message alone."""

STREAMED_REASON = re.compile(r"^(?:(Prompt)|Candidate) blocked: ([A-Z_]+)\b")
BROKEN_WORDS = _words(r"malformed", r"(?:function|tool) calls?\b", r"thought signature", r"no image")
"""What Gemini says itself of an answer that it broke off, where it does."""

ROOM_AND_NEED = re.compile(
    r"\blimit:? (?P<room>\d{1,12}),? (?:used:? \d{1,12}, )?requested:? (?P<need>\d{1,12})\b", re.IGNORECASE
)
"""OpenAI and Groq: how much a minute has room for, and how much this one request needs."""
