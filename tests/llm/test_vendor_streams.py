"""What vendors say in a stream: errors among the words, answers withheld, ends without a reason."""

import json
from typing import Any

import pytest
from dspy.utils.exceptions import LMStreamAssemblyError

from skill_fleet.llm.failures import Failure, UnusableAnswer, understand
from skill_fleet.llm.providers.vendor_tables import BROKEN, WITHHELD
from vendor_cases import Case, failed, give_up, stop, streamed
from wires import Reply, chat_events, generated_events, message_events, openai_error

BEGUN = chat_events("half ", "an answer")[:2]
DONE = "data: [DONE]"
SERVER = Failure("server", "retry", sent=True)
BOTH = pytest.mark.parametrize("awaited", [False, True], ids=["thread", "task"])


def data(event: Any) -> str:
    return f"data: {json.dumps(event)}"


def openrouter(code: int, text: str) -> str:
    """As OpenRouter documents an error that comes among the words."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    error = {"code": code, "message": text}
    return data(
        {"id": "x", "object": "chat.completion.chunk", "model": "m", "error": error, "choices": [choice]}
    )


def vllm(code: int, kind: str, text: str) -> str:
    return data({"error": {"message": text, "type": kind, "param": None, "code": code}})


LONG = "This model's maximum context length is 4096 tokens. You requested 5000 tokens."
# The failure before any word, which is what it means; after one it may be billed, whatever it is.
ERRORS: dict[str, tuple[str, str, Failure]] = {
    "openrouter, provider gone": ("openrouter/m", openrouter(502, "Provider disconnected"), SERVER),
    "openrouter, too many": (
        "openrouter/m",
        openrouter(429, "Rate limit exceeded. Try again in 3 seconds."),
        Failure("rate_limit", "retry", sent=False, retry_after=3.0),
    ),
    "openrouter, no money": ("openrouter/m", openrouter(402, "Insufficient credits"), stop("billing")),
    "openrouter, late": (
        "openrouter/m",
        openrouter(408, "Request timed out"),
        Failure("timeout", "retry", sent=True),
    ),
    "openrouter, gone": ("openrouter/m", openrouter(404, "No endpoints found"), stop("not_found")),
    "vllm, long": (
        "hosted_vllm/m",
        vllm(400, "BadRequestError", LONG),
        give_up("context_window_exceeded"),
    ),
    "vllm, another bad request": (
        "hosted_vllm/m",
        vllm(400, "BadRequestError", "temperature must be non-negative, got -1.0."),
        give_up("invalid_request"),
    ),
    "vllm, engine": ("hosted_vllm/m", vllm(500, "InternalServerError", "EngineCore is dead."), SERVER),
    "openai, server": ("openai/m", data(openai_error("The server had an error", "server_error")), SERVER),
    "moonshot, engine": (
        "moonshot/m",
        data(openai_error("The engine is currently overloaded", "engine_overloaded_error")),
        SERVER,
    ),
    "a number that is no status": (
        "openai/m",
        vllm(123, "odd", "something odd"),
        Failure("provider", "give_up", sent=True),
    ),
}


@BOTH
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_before_any_word_means_what_it_would_as_a_status(name: str, awaited: bool) -> None:
    model, event, failure = ERRORS[name]
    heard = streamed(model, Reply([event, DONE]), awaited=awaited)
    assert understand(heard[-1]) == failure


@BOTH
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_among_the_words_may_be_billed_whatever_it_is(name: str, awaited: bool) -> None:
    model, event, failure = ERRORS[name]
    heard = streamed(model, Reply([*BEGUN, event, DONE]), awaited=awaited)
    assert [one.type for one in heard[:-1]] == ["start", "delta", "delta"]
    found = understand(heard[-1])
    assert (found.code, found.remedy, found.sent) == (failure.code, failure.remedy, True)


def withheld(reason: str, text: str | None = None) -> dict[str, Any]:
    if reason == "promptFeedback":
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    told = {} if text is None else {"finishMessage": text}
    return {"candidates": [{"finishReason": reason, "index": 0, **told}]}


@pytest.mark.parametrize("reason", sorted(WITHHELD | BROKEN))
def test_an_answer_that_gemini_withholds_or_breaks_off_is_the_same_by_stream_and_whole(reason: str) -> None:
    case = Case(reason, "gemini/m", Reply(withheld(reason)), give_up("content_filter", sent=True))
    whole = failed(case)
    by_stream = streamed("gemini/m", Reply([data(withheld(reason))]))[-1]
    for error in (whole, by_stream):
        assert isinstance(error, UnusableAnswer)
        assert error.finish_reason == reason
        assert understand(error) == (
            give_up("content_filter", sent=True)
            if reason in WITHHELD
            else Failure("broken_off", "retry", sent=True, answered=True)
        )


@pytest.mark.parametrize(
    ("reason", "text", "code"),
    [
        ("SAFETY", "The answer was stopped for its content.", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "Malformed function call: print(1)", "broken_off"),
    ],
)
def test_where_gemini_says_more_of_it_the_stream_tells_no_reason_but_it_is_the_same(
    reason: str, text: str, code: str
) -> None:
    error = streamed("gemini/m", Reply([data(withheld(reason, text))]))[-1]
    assert isinstance(error, UnusableAnswer)
    assert (error.code, error.finish_reason) == (code, None)
    assert text in str(error)


@BOTH
def test_an_answer_that_anthropic_blocks_on_its_way_is_withheld_and_paid(awaited: bool) -> None:
    blocked = {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}
    event = "event: error\n" + data({"type": "error", "error": blocked})
    heard = streamed("anthropic/m", Reply([*message_events("some", "words")[:4], event]), awaited=awaited)
    assert understand(heard[-1]) == give_up("content_filter", sent=True)


WHOLE = {
    "openai/m": (chat_events("half ", "an answer"), -3),
    "anthropic/m": (message_events("half ", "an answer"), -2),
    "gemini/m": (generated_events("half ", "an answer"), -1),
}


@BOTH
@pytest.mark.parametrize("model", WHOLE)
def test_a_stream_that_ends_in_good_order_without_a_reason_is_cut_off(model: str, awaited: bool) -> None:
    """All of it is there but the event that says why it ended."""
    events, place = WHOLE[model]
    assert streamed(model, Reply(events), awaited=awaited)[-1].finish_reason == "stop"
    left = [event for event in events if event is not events[place]]
    cut = streamed(model, Reply(left), awaited=awaited)[-1]
    assert isinstance(cut, LMStreamAssemblyError)
    assert understand(cut) == Failure("stream_assembly", "retry", sent=True, answered=True)


def test_done_alone_is_no_answer() -> None:
    cut = streamed("openai/m", Reply([*BEGUN, DONE]))[-1]
    assert isinstance(cut, LMStreamAssemblyError)
    assert "without a reason" in str(cut)
