"""What stands behind what a vendor says: the words of a provider behind it, and limits that are nothing.

The bodies are as users of OpenRouter, Google and OpenAI report them.
"""

import json
from typing import Any

import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMBillingError, LMRateLimitError

from skill_fleet.llm.failures import explained, understand
from skill_fleet.llm.providers.vendor_words import retyped, usual_form
from vendor_cases import LONG, SERVER, Case, failed, give_up, reply, stop, wait
from wires import google_error, openai_error

BOTH = pytest.mark.parametrize("awaited", [False, True], ids=["thread", "task"])
TOO_LONG = "This model's maximum context length is 4096 tokens. You requested 5000 tokens."


def behind(status: int, raw: Any, name: Any = "Crucible", said: str = "Provider returned error") -> Any:
    """OpenRouter's answer where the provider behind it refused or failed."""
    metadata = {"raw": raw, "provider_name": name, "is_byok": False}
    return reply(status, {"error": {"message": said, "code": status, "metadata": metadata}, "user_id": "u"})


def google(*metrics: tuple[str, str]) -> str:
    head = "You exceeded your current quota, please check your plan and billing details."
    each = "".join(
        f"\n* Quota exceeded for metric: {name}, limit: {limit}, model: m" for name, limit in metrics
    )
    return f"{head}{each}\nPlease retry in 34.07s."


FREE = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
CASES = [
    Case(
        "too long, as OpenAI says it",
        "openrouter/m",
        behind(400, json.dumps(openai_error(TOO_LONG, code="context_length_exceeded"))),
        LONG,
    ),
    Case(
        "too long, as vLLM says it",
        "openrouter/m",
        behind(400, json.dumps({"object": "error", "message": TOO_LONG, "code": 400})),
        LONG,
    ),
    Case(
        "too long, as Google says it",
        "openrouter/m",
        behind(
            400,
            json.dumps(
                [google_error("INVALID_ARGUMENT", 400, "The input token count (9) exceeds the maximum")]
            ),
        ),
        LONG,
    ),
    Case("too long, in plain words", "openrouter/m", behind(400, TOO_LONG), LONG),
    Case(
        "a parameter that is refused",
        "openrouter/m",
        behind(400, json.dumps(openai_error("Model 'm' supports at most 1 image per prompt."))),
        give_up("invalid_request"),
    ),
    Case("flagged", "openrouter/m", behind(400, "Content Exists Risk"), give_up("content_filter")),
    Case(
        "turned away for a while",
        "openrouter/m",
        behind(429, "m is temporarily rate-limited upstream. Please try again in 3 seconds."),
        wait(3.0),
    ),
    Case("gone", "openrouter/m", behind(502, "<html>502 Bad Gateway</html>", None), SERVER),
    Case("nothing behind it", "openrouter/m", behind(400, " "), give_up("invalid_request")),
    Case("something odd behind it", "openrouter/m", behind(400, {"a": 1}, 5), give_up("invalid_request")),
    Case(
        "google, none of it",
        "gemini/m",
        reply(429, google_error("RESOURCE_EXHAUSTED", 429, google((FREE, "0")))),
        stop("billing"),
    ),
    Case(
        "google, none of one of them",
        "gemini/m",
        reply(429, google_error("RESOURCE_EXHAUSTED", 429, google((FREE, "250"), (FREE, "0")))),
        stop("billing"),
    ),
    Case(
        "google, none but in a tier that is paid",
        "gemini/m",
        reply(429, google_error("RESOURCE_EXHAUSTED", 429, "Gemini m doesn't have a free quota tier.")),
        stop("billing"),
    ),
    Case(
        "google, little of it",
        "gemini/m",
        reply(429, google_error("RESOURCE_EXHAUSTED", 429, google((FREE, "10")))),
        wait(34.07),
    ),
    Case(
        "openai, none of it",
        "openai/m",
        reply(
            429,
            openai_error("Rate limit reached for m on tokens per min (TPM): Limit 0, Used 0, Requested 29."),
        ),
        stop("billing"),
    ),
    Case(
        "openai, little of it",
        "openai/m",
        reply(429, openai_error("Rate limit reached for m on tokens per min (TPM): Limit 09000, Used 0.")),
        wait(),
    ),
]


@BOTH
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_understood(case: Case, awaited: bool) -> None:
    assert understand(failed(case, awaited=awaited)) == case.failure


def test_who_runs_into_it_reads_what_was_said_and_by_whom() -> None:
    case = next(case for case in CASES if case.name == "a parameter that is refused")
    error = failed(case)
    said = explained(error, understand(error), "openrouter/m").message
    assert "Provider returned error: Crucible: Model 'm' supports at most 1 image per prompt." in said


@pytest.mark.parametrize(
    ("raw", "name", "said"),
    [
        (json.dumps(openai_error("Param incorrect")), "Xiaomi", "failed: Xiaomi: Param incorrect"),
        (
            json.dumps({"object": "error", "message": "Too long", "code": 400}),
            "vLLM",
            "failed: vLLM: Too long",
        ),
        (
            json.dumps([google_error("UNAVAILABLE", 503, "Overloaded")]),
            "Google",
            "failed: Google: Overloaded",
        ),
        (json.dumps({"error": "Unknown field"}), "xAI", "failed: xAI: Unknown field"),
        (" plain words\n", None, "failed: plain words"),
        ("plain words", 5, "failed: plain words"),
        ("plain words", "", "failed: plain words"),
        (" ", "Xiaomi", "failed"),
    ],
)
def test_what_was_said_stands_after_who_said_it(raw: str, name: Any, said: str) -> None:
    error = {"message": "failed", "metadata": {"raw": raw, "provider_name": name}}
    body = json.dumps({"error": error}).encode()
    assert json.loads(usual_form(body))["error"]["message"] == said


@pytest.mark.parametrize("said", [google((FREE, "0")), "Your prepayment credits are depleted."])
def test_an_account_with_nothing_left_is_no_matter_of_length(said: str) -> None:
    assert type(retyped(ContextWindowExceededError(message=said, status=429))) is LMBillingError


@pytest.mark.parametrize("limit", ["0.5", "0,500", "01", "1", "100"])
def test_a_limit_that_only_begins_with_a_nought_is_one(limit: str) -> None:
    for said in (google((FREE, limit)), f"tokens per min (TPM): Limit {limit}, Used 0"):
        assert type(retyped(LMRateLimitError(said, status=429))) is LMRateLimitError


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 100_000,
        '{"error":' * 5_000,
        "[]",
        "[1]",
        '{"error": {"message": 5}}',
        '{"error": null}',
        "\ud800",
    ],
    ids=["lists", "errors", "empty", "number", "no words", "null", "half a character"],
)
def test_what_cannot_be_read_is_said_as_it_is(raw: str) -> None:
    body = json.dumps({"error": {"message": "failed", "metadata": {"raw": raw}}}).encode()
    said = json.loads(usual_form(body))["error"]["message"]
    assert said == f"failed: {raw}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b'{"error": "refused"}',
        b'{"error": {"message": "refused"}}',
        b'{"error": {"message": "refused", "metadata": null}}',
        b'{"error": {"message": "refused", "metadata": {"raw": null}}}',
        b'{"error": ["refused"]}',
    ],
)
def test_a_body_with_nothing_behind_it_stays_as_it_is(body: bytes) -> None:
    assert usual_form(body) == body
