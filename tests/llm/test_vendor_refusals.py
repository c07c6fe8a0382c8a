"""Accounts that cannot pay, filters, and requests that never fit: each beside one that only looks like it.

The bodies are those that the vendors document or that their users report, but for names of accounts.
"""

import pytest
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMError,
    LMInvalidRequestError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
)

from skill_fleet.llm.failures import explained, understand
from skill_fleet.llm.providers.vendor_words import retyped
from vendor_cases import LONG, Case, failed, give_up, reply, stop, wait
from wires import anthropic_error, google_error, openai_error

TPM = "gpt-4o in organization org-x on tokens per min (TPM): Limit 30000"
XAI_DENIED = "The caller does not have permission to execute the specified operation"

MONEY = [
    Case(
        "xai, all credits used, as a rate limit",
        "xai/m",
        reply(
            429,
            {
                "code": "Some resource has been exhausted",
                "error": "Your team x has either used all available credits or reached its monthly spending "
                "limit. To continue making API requests, please purchase more credits or raise your limit.",
            },
        ),
        stop("billing"),
    ),
    Case(
        "xai, a plain rate limit",
        "xai/m",
        reply(429, {"code": "Some resource has been exhausted", "error": "Too many requests for team x."}),
        wait(),
    ),
    Case(
        "openai, billing not active",
        "openai/m",
        reply(
            429,
            openai_error(
                "Your account is not active, please check your billing details on our website.",
                "billing_not_active",
                "billing_not_active",
            ),
        ),
        stop("billing"),
    ),
    Case(
        "openai, billing not active, the type alone",
        "openai/m",
        reply(
            429,
            openai_error(
                "Your account is not active, please check your billing details.", "billing_not_active"
            ),
        ),
        stop("billing"),
    ),
    Case(
        "openai, hard limit",
        "openai/m",
        reply(
            400,
            openai_error("Billing hard limit has been reached", code="billing_hard_limit_reached"),
        ),
        stop("billing"),
    ),
    Case(
        "openai, hard limit, in words alone",
        "openai/m",
        reply(400, openai_error("Billing hard limit has been reached")),
        stop("billing"),
    ),
    Case(
        "openai, a parameter named like it",
        "openai/m",
        reply(400, openai_error("Unknown parameter: 'metadata.billing_limit'.", code="unknown_parameter")),
        give_up("invalid_request"),
    ),
    Case(
        "gemini, prepaid credits are gone",
        "gemini/m",
        reply(
            429,
            google_error(
                "RESOURCE_EXHAUSTED",
                429,
                "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects "
                "to manage your project and billing.",
            ),
        ),
        stop("billing"),
    ),
    Case(
        "gemini, a quota of a minute that names billing",
        "gemini/m",
        reply(
            429,
            google_error(
                "RESOURCE_EXHAUSTED",
                429,
                "You exceeded your current quota, please check your plan and billing details. Quota exceeded "
                "for metric: generate_content_free_tier_requests, limit: 5. Please retry in 12.5s.",
            ),
        ),
        wait(12.5),
    ),
    Case(
        "groq, a rate limit that names billing",
        "groq/m",
        reply(
            429,
            openai_error(
                "Rate limit reached for model `m` in organization `org_x` service tier `on_demand` on tokens "
                "per minute (TPM): Limit 8000, Used 7000, Requested 3000. Please try again in 15s. Need more "
                "tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
                "tokens",
                "rate_limit_exceeded",
            ),
        ),
        wait(15.0),
    ),
    Case(
        "groq, the account is shut",
        "groq/m",
        reply(
            400,
            openai_error(
                "Organization has been restricted. Please reach out to support if you believe this was in "
                "error.",
                code="organization_restricted",
            ),
        ),
        stop("auth"),
    ),
    Case(
        "groq, no room for flexible work",
        "groq/m",
        reply(498, openai_error("Flex tier capacity exceeded", "capacity_exceeded", "capacity_exceeded")),
        wait(),
    ),
]

FILTERS = [
    Case(
        "anthropic, answer blocked",
        "anthropic/m",
        reply(400, anthropic_error("invalid_request_error", "Output blocked by content filtering policy")),
        give_up("content_filter", sent=True),
    ),
    Case(
        "anthropic, a setting of the output",
        "anthropic/m",
        reply(
            400,
            anthropic_error(
                "invalid_request_error", "output_config: content filtering is not a policy field"
            ),
        ),
        give_up("invalid_request"),
    ),
    Case(
        "openai, prompt flagged",
        "openai/m",
        reply(
            400,
            openai_error(
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please "
                "try again with a different prompt: https://platform.openai.com/docs/guides/reasoning",
                code="invalid_prompt",
            ),
        ),
        give_up("content_filter"),
    ),
    Case(
        "openai, prompt of a wrong form",
        "openai/m",
        reply(400, openai_error("Invalid prompt: 'flagged' is not a role.", code="invalid_prompt")),
        give_up("invalid_request"),
    ),
    Case(
        "xai, content",
        "xai/m",
        reply(
            403,
            {
                "code": XAI_DENIED,
                "error": "Content violates usage guidelines. Team: x, API key ID: y, Model: grok-4-0709, "
                "Failed check: SAFETY_CHECK_TYPE_BIO",
            },
        ),
        give_up("content_filter"),
    ),
    Case(
        "xai, access",
        "xai/m",
        reply(403, {"code": XAI_DENIED, "error": "Access to the chat endpoint is denied."}),
        stop("auth"),
    ),
    Case(
        "deepseek, content",
        "deepseek/m",
        reply(400, openai_error("Content Exists Risk", code="invalid_request_error")),
        give_up("content_filter"),
    ),
]

FITS = [
    Case(
        "openai, larger than a minute's tokens",
        "openai/m",
        reply(
            429,
            openai_error(
                f"Request too large for {TPM}, Requested 30601. The input or output tokens must be reduced "
                "in order to run successfully. Visit https://platform.openai.com/account/rate-limits.",
                "tokens",
                "rate_limit_exceeded",
            ),
        ),
        LONG,
    ),
    Case(
        "openai, no room in this minute",
        "openai/m",
        reply(
            429,
            openai_error(
                f"Rate limit reached for {TPM}, Used 29000, Requested 5000. Please try again in 8s.",
                "tokens",
                "rate_limit_exceeded",
            ),
        ),
        wait(8.0),
    ),
    Case(
        "openai, as much as fits",
        "openai/m",
        reply(
            429,
            openai_error(
                f"Rate limit reached for {TPM}, Used 1, Requested 30000. Please try again in 2ms.", "tokens"
            ),
        ),
        wait(0.002),
    ),
    Case(
        "azure, in seconds",
        "azure/m",
        reply(429, {"error": {"code": "429", "message": "Rate limit is exceeded. Try again in 2 seconds."}}),
        wait(2.0),
    ),
    Case(
        "azure, in a day",
        "azure/m",
        reply(
            429,
            {
                "error": {
                    "code": "429",
                    "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API "
                    "version 2024-05-01-preview have exceeded token rate limit of your current OpenAI S0 "
                    "pricing tier. Please retry after 86400 seconds.",
                }
            },
        ),
        wait(86400.0),
    ),
    Case(
        "anthropic, a login whose lifetime is over",
        "anthropic/m",
        reply(
            401,
            anthropic_error("authentication_error", "OAuth token has expired and exceeds its lifetime limit"),
        ),
        stop("auth"),
    ),
]


@pytest.mark.parametrize("case", [*MONEY, *FILTERS, *FITS], ids=lambda case: case.name)
def test_what_looks_alike_is_told_apart(case: Case) -> None:
    assert understand(failed(case)) == case.failure
    assert understand(failed(case, awaited=True)) == case.failure


def test_an_account_that_was_shut_is_told_so() -> None:
    error = failed(next(case for case in MONEY if case.name == "groq, the account is shut"))
    said = explained(error, understand(error), "groq/m")
    assert "Organization has been restricted" in said.message
    assert said.hint == "The provider has shut this account: ask its support."


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Insufficient Balance", "billing"),
        ("Insufficient credits. Add more using https://openrouter.ai/credits", "billing"),
        ("You are out of credits", "billing"),
        ("This request requires more credits, or fewer max_tokens.", "billing"),
        ("Your account is not active, please check your billing details on our website.", "billing"),
        ("This model's maximum context length is 8192 tokens.", "context_window_exceeded"),
        ("prompt is too long: 215000 tokens > 200000 maximum", "context_window_exceeded"),
        ("Input is too long for requested model.", "context_window_exceeded"),
        ("too many tokens: max tokens must be less than 4096", "context_window_exceeded"),
        ("The input token count (9) exceeds the maximum number allowed (8).", "context_window_exceeded"),
        ("Please reduce the length of the messages or completion.", "context_window_exceeded"),
        ("The input (9000 tokens) is longer than the model's context length", "context_window_exceeded"),
        ("Requested token count exceeds the model's context size", "context_window_exceeded"),
        ("the input is longer than the model's context", "context_window_exceeded"),
        ("API key expired. Please renew the API key.", "auth"),
        ("Organization has been restricted. Please reach out to support.", "auth"),
        ("m is not a valid model ID", "unsupported_model"),
        ("'top_k' must be at least 1, and the balance of the others is kept", "invalid_request"),
        ("a context is not among the fields of the prompt", "invalid_request"),
        ("'credits' is an unknown field", "invalid_request"),
        ("model_kwargs is an unknown field", "invalid_request"),
    ],
)
def test_words_alone_tell_a_refused_request(said: str, code: str) -> None:
    assert understand(retyped(LMInvalidRequestError(said, status=400))).code == code


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("billing_not_active", LMBillingError),
        ("billing_hard_limit_reached", LMBillingError),
        ("context_length_exceeded", ContextWindowExceededError),
        ("exceed_context_size_error", ContextWindowExceededError),
        ("capacity_exceeded", LMRateLimitError),
    ],
)
@pytest.mark.parametrize("kind", [LMInvalidRequestError, LMProviderError])
def test_a_code_that_means_one_thing_needs_no_words(
    code: str, meant: type[LMError], kind: type[LMError]
) -> None:
    assert type(retyped(kind("x", provider_code=code, status=400))) is meant


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        *((status, LMInvalidRequestError) for status in (400, 404, 413, 422)),
        *((status, LMAuthError) for status in (401, 403)),
        (402, LMBillingError),
        *((status, LMTimeoutError) for status in (408, 504)),
        (429, LMRateLimitError),
        *((status, LMServerError) for status in (500, 502, 503, 529, 599)),
    ],
)
@pytest.mark.parametrize("kind", [LMProviderError, LMServerError])
@pytest.mark.parametrize("told", [None, 200])
def test_an_error_that_came_with_200_is_of_the_status_in_its_code(
    status: int, meant: type[LMError], kind: type[LMError], told: int | None
) -> None:
    found = retyped(kind("x", provider_code=str(status), status=told))
    assert type(found) is meant
    assert found.status == status


@pytest.mark.parametrize("code", ["", "12", "1402", "0402", "40x", "399", "600", "none"])
def test_a_code_that_is_no_status_of_an_error_is_none(code: str) -> None:
    error = LMServerError("x", provider_code=code)
    assert retyped(error) is error


def test_a_status_of_its_own_goes_before_the_code() -> None:
    error = LMServerError("x", provider_code="400", status=503)
    assert retyped(error) is error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextWindowExceededError(message=f"too large for {TPM}, Requested 30601", status=429), LONG.code),
        (ContextWindowExceededError(message=f"no room in {TPM}, Requested 3", status=429), "rate_limit"),
        (LMAuthError("Your request was flagged as one of another account", status=401), "auth"),
        (LMProviderError("prompt is too long", provider_code="odd"), LONG.code),
        (LMProviderError("The engine is overloaded", provider_code="odd"), "server"),
        (LMProviderError("The engine is overloaded", provider_code="odd", status=418), "provider"),
        (LMProviderError("The engine is overloaded"), "provider"),
    ],
)
def test_where_and_when_it_was_said_counts(error: LMError, code: str) -> None:
    """Words of a stream's error, which has a code and no status, are looked at; those of others are known."""
    assert understand(retyped(error)).code == code
