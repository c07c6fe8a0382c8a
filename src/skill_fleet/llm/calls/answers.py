"""What came back from a provider: whether it is an answer, how the journal writes it, what it used."""

import json
from typing import Any

import orjson
from dspy.lm15 import Response

from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.journal.spent import Usage


def unusable(response: Response) -> UnusableAnswer | None:
    """Why a response is no answer, though it was paid for; None when it is one."""
    reason = response.finish_reason
    if reason == "length":
        return UnusableAnswer("The answer was cut off at max_tokens.", code="truncated", finish_reason=reason)
    if reason == "content_filter":
        said = "The provider's content filter withheld the answer."
        return UnusableAnswer(said, code="content_filter", finish_reason=reason)
    if reason == "error":
        return UnusableAnswer("The provider broke the answer off.", code="broken_off", finish_reason=reason)
    text = (response.message.text or "").strip()
    if not text and any(part.type == "refusal" for part in response.message.parts):
        said = "The model refused to answer."
        return UnusableAnswer(said, code="content_filter", finish_reason="refusal")
    if not text and reason != "tool_call":
        return UnusableAnswer("The provider sent an empty answer.", code="empty", finish_reason=reason)
    return None


def as_text(document: dict[str, Any]) -> tuple[str, bool]:
    """An answer as JSON, and whether it is exact: half a surrogate pair, which some send, becomes a `?`."""
    try:
        return orjson.dumps(document).decode(), True
    except TypeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode(), False


def total(usage: Usage | None) -> int | None:
    """Tokens in and out; None where it is not known how many."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens
