"""What vendors answer when something is wrong, each in its own words, and what it means for a call.

The bodies are those of the vendors' documentation or of their servers; all of them reach the provider over
HTTP, from a server on this machine.
"""

import pytest
from dspy.utils.exceptions import LMServerError

from skill_fleet.foundation.errors import KeyMissing
from skill_fleet.llm.failures import Failure, explained, understand
from skill_fleet.llm.providers.vendor_words import retyped
from vendor_cases import LONG, SERVER, Case, failed, give_up, reply, stop, wait
from wires import anthropic_error, google_error, openai_error

RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
OPENAI_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. "
    "Please reduce the length of the messages."
)


CASES = [
    # OpenAI
    Case(
        "openai key",
        "openai/m",
        reply(401, openai_error("Incorrect API key provided: sk-x.", code="invalid_api_key")),
        stop("auth"),
    ),
    Case(
        "openai country",
        "openai/m",
        reply(403, openai_error("Country, region, or territory not supported", "request_forbidden")),
        stop("auth"),
    ),
    Case(
        "openai model",
        "openai/m",
        reply(
            404,
            openai_error("The model `m` does not exist or you do not have access.", code="model_not_found"),
        ),
        stop("unsupported_model"),
    ),
    Case(
        "openai rate",
        "openai/m",
        reply(429, openai_error("Rate limit reached", "requests", "rate_limit_exceeded"), retry_after="7"),
        wait(7.0),
    ),
    Case(
        "openai rate in milliseconds",
        "openai/m",
        reply(429, openai_error("Rate limit reached", "requests"), retry_after_ms="250"),
        wait(0.25),
    ),
    Case(
        "openai rate in words",
        "openai/m",
        reply(429, openai_error("Rate limit reached for m. Please try again in 1m6.5s. Visit", "tokens")),
        wait(66.5),
    ),
    Case(
        "openai rate, no word of when", "openai/m", reply(429, openai_error("Slow down", "requests")), wait()
    ),
    Case(
        "openai quota",
        "openai/m",
        reply(
            429, openai_error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
        ),
        stop("billing"),
    ),
    Case(
        "openai long", "openai/m", reply(400, openai_error(OPENAI_LONG, code="context_length_exceeded")), LONG
    ),
    Case(
        "openai bad parameter",
        "openai/m",
        reply(400, openai_error("Unsupported value: 'temperature'", code="unsupported_value")),
        give_up("invalid_request"),
    ),
    Case(
        "openai 500", "openai/m", reply(500, openai_error("The server had an error", "server_error")), SERVER
    ),
    Case(
        "openai 503",
        "openai/m",
        reply(503, openai_error("Overloaded"), retry_after="3"),
        Failure("server", "retry", sent=True, retry_after=3.0),
    ),
    # Anthropic
    Case(
        "anthropic key",
        "anthropic/m",
        reply(401, anthropic_error("authentication_error", "invalid x-api-key")),
        stop("auth"),
    ),
    Case(
        "anthropic no money",
        "anthropic/m",
        reply(
            400,
            anthropic_error(
                "invalid_request_error", "Your credit balance is too low to access the Anthropic API."
            ),
        ),
        stop("billing"),
    ),
    Case(
        "anthropic month is over",
        "anthropic/m",
        reply(
            400,
            anthropic_error("invalid_request_error", "You have reached your specified API usage limits."),
        ),
        stop("billing"),
    ),
    Case(
        "anthropic tokens a minute",
        "anthropic/m",
        reply(
            429,
            anthropic_error(
                "rate_limit_error",
                "This request would exceed the rate limit of 40,000 input tokens per minute.",
            ),
            retry_after="12",
        ),
        wait(12.0),
    ),
    Case(
        "anthropic model",
        "anthropic/m",
        reply(404, anthropic_error("not_found_error", "model: m")),
        stop("not_found"),
    ),
    Case(
        "anthropic long",
        "anthropic/m",
        reply(
            400,
            anthropic_error("invalid_request_error", "prompt is too long: 215000 tokens > 200000 maximum"),
        ),
        LONG,
    ),
    Case(
        "anthropic overloaded",
        "anthropic/m",
        reply(529, anthropic_error("overloaded_error", "Overloaded")),
        SERVER,
    ),
    # Gemini
    Case(
        "gemini key",
        "gemini/m",
        reply(
            400,
            google_error("INVALID_ARGUMENT", 400, "API key not valid. Please pass a valid API key."),
        ),
        stop("auth"),
    ),
    Case(
        "gemini rate",
        "gemini/m",
        reply(
            429,
            google_error(
                "RESOURCE_EXHAUSTED",
                429,
                "You exceeded your current quota. Quota exceeded for metric: input_token_count, limit: 9. "
                "Please retry in 34.07s.",
                RETRY_INFO,
            ),
        ),
        wait(34.07),
    ),
    Case(
        "gemini model",
        "gemini/m",
        reply(404, google_error("NOT_FOUND", 404, "models/m is not found for API version v1beta")),
        stop("unsupported_model"),
    ),
    Case(
        "gemini long",
        "gemini/m",
        reply(
            400,
            google_error(
                "INVALID_ARGUMENT",
                400,
                "The input token count (1200000) exceeds the maximum number of tokens.",
            ),
        ),
        LONG,
    ),
    Case(
        "gemini prompt blocked",
        "gemini/m",
        reply(200, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}),
        give_up("content_filter", sent=True),
    ),
    Case(
        "gemini answer blocked",
        "gemini/m",
        reply(200, {"candidates": [{"finishReason": "SAFETY", "index": 0}]}),
        give_up("content_filter", sent=True),
    ),
    Case(
        "gemini overloaded",
        "gemini/m",
        reply(503, google_error("UNAVAILABLE", 503, "The model is overloaded.")),
        SERVER,
    ),
    # Azure
    Case(
        "azure key",
        "azure/m",
        reply(401, {"error": {"code": "401", "message": "Access denied"}}),
        stop("auth"),
    ),
    Case(
        "azure deployment",
        "azure/m",
        reply(
            404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}
        ),
        stop("unsupported_model"),
    ),
    Case(
        "azure filter",
        "azure/m",
        reply(
            400,
            {
                "error": {
                    "code": "content_filter",
                    "message": "The response was filtered due to the prompt triggering Azure's policy",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
        ),
        give_up("content_filter"),
    ),
    # Others that speak OpenAI's protocol
    Case(
        "openrouter no money",
        "openrouter/m",
        reply(402, {"error": {"code": 402, "message": "Insufficient credits"}}),
        stop("billing"),
    ),
    Case(
        "openrouter model",
        "openrouter/m",
        reply(400, {"error": {"code": 400, "message": "m is not a valid model ID"}}),
        stop("unsupported_model"),
    ),
    Case(
        "openrouter flagged",
        "openrouter/m",
        reply(
            403, {"error": {"code": 403, "message": "Your chosen model requires moderation and was flagged"}}
        ),
        give_up("content_filter"),
    ),
    Case(
        "openrouter passes 429 on with 200",
        "openrouter/m",
        reply(200, {"error": {"code": 429, "message": "Rate limit exceeded"}}),
        wait(),
    ),
    Case(
        "groq request over a minute's tokens",
        "groq/m",
        reply(
            413,
            openai_error(
                "Request too large for model m on tokens per minute", "tokens", "rate_limit_exceeded"
            ),
        ),
        LONG,
    ),
    Case(
        "xai key",
        "xai/m",
        reply(
            400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x."}
        ),
        stop("auth"),
    ),
    Case(
        "xai no money",
        "xai/m",
        reply(403, {"code": "forbidden", "error": "Your newly created team doesn't have any credits yet."}),
        stop("billing"),
    ),
    Case(
        "deepseek no money", "deepseek/m", reply(402, openai_error("Insufficient Balance")), stop("billing")
    ),
    Case(
        "ollama model",
        "ollama_chat/m",
        reply(404, openai_error('model "m" not found, try pulling it first', "api_error")),
        stop("unsupported_model"),
    ),
    Case(
        "vllm long",
        "hosted_vllm/m",
        reply(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. You requested 5000 tokens.",
                "type": "BadRequestError",
                "code": 400,
            },
        ),
        LONG,
    ),
    Case(
        "mistral through openai",
        "openai/m",
        reply(
            401, {"object": "error", "message": "Unauthorized", "type": "invalid_request_error", "code": "1"}
        ),
        stop("auth"),
    ),
    Case(
        "a server made with fastapi",
        "hosted_vllm/m",
        reply(404, {"detail": "Not Found"}),
        stop("not_found"),
    ),
    Case(
        "llama.cpp long",
        "llama_cpp/m",
        reply(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "the request exceeds the available context size, try increasing it",
                    "type": "exceed_context_size_error",
                }
            },
        ),
        LONG,
    ),
    Case(
        "llama.cpp still loading",
        "llama_cpp/m",
        reply(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
        SERVER,
    ),
    Case(
        "lm studio long",
        "lm_studio/m",
        reply(400, {"error": "Trying to keep the first 5000 tokens when context the overflows."}),
        LONG,
    ),
    Case(
        "lm studio nothing loaded",
        "lm_studio/m",
        reply(404, {"error": {"message": "No models loaded. Please load a model in the developer page."}}),
        stop("unsupported_model"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_vendors_words_are_understood(case: Case) -> None:
    assert understand(failed(case)) == case.failure
    assert understand(failed(case, awaited=True)) == case.failure


def test_the_words_of_an_error_reach_the_user_whatever_form_they_came_in() -> None:
    flat = next(case for case in CASES if case.name == "vllm long")
    assert "maximum context length is 4096 tokens" in str(failed(flat))
    plain = next(case for case in CASES if case.name == "a server made with fastapi")
    assert "Not Found" in str(failed(plain))


@pytest.mark.parametrize(
    "said",
    [
        "OpenAIException - Missing credentials. Please pass an `api_key`, or set OPENAI_API_KEY.",
        "The api_key client option must be set either by passing api_key to the client or by setting it.",
        "Unable to locate credentials",
        "Your default credentials were not found. To set up Application Default Credentials, see …",
    ],
)
def test_a_key_that_a_client_beneath_litellm_does_not_find_is_no_failure_of_a_server(said: str) -> None:
    meant = retyped(LMServerError(f"litellm.InternalServerError: {said}", status=500, model="litellm/m"))
    assert understand(meant) == Failure("not_configured", "stop", sent=False)
    told = explained(meant, understand(meant), "litellm/m")
    assert isinstance(told, KeyMissing)
    assert told.hint == "Set the key in the environment variable of this model."


def test_a_word_that_only_looks_like_a_cause_changes_nothing() -> None:
    innocent = reply(400, openai_error("'messages' must not be empty", code="bad"))
    error = failed(Case("plain", "openai/m", innocent, give_up("invalid_request")))
    assert understand(error) == give_up("invalid_request")
