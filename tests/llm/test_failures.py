"""What a failure means, and what is said of it."""

import inspect
import socket
import sys

import httpx2
import pytest
from dspy.utils import exceptions
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    DSPyError,
    LMError,
    LMProviderError,
    LMTransportError,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.foundation.errors import KeyMissing, ProviderError
from skill_fleet.llm.commands.failures import NotStarted
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained, redact, redacted, understand

EXPECTED = {
    "LMAuthError": ("stop", False),
    "LMBillingError": ("stop", False),
    "LMConfigurationError": ("stop", False),
    "LMNotConfiguredError": ("stop", False),
    "LMUnsupportedModelError": ("stop", False),
    "LMUnsupportedFeatureError": ("stop", False),
    "LMInvalidRequestError": ("give_up", False),
    "ContextWindowExceededError": ("give_up", False),
    "LMCollectionLimitError": ("give_up", True),
    "LMProviderError": ("give_up", True),
    "LMError": ("give_up", True),
    "LMRateLimitError": ("retry", False),
    "LMLockTimeoutError": ("retry", False),
    "LMServerError": ("retry", True),
    "LMTimeoutError": ("retry", True),
    "LMTransportError": ("retry", True),
    "LMUnexpectedError": ("retry", True),
    "LMStreamAssemblyError": ("retry", True),
}


def test_every_error_of_dspy_has_a_meaning() -> None:
    """A class that a later DSPy adds shows up here, and somebody decides."""
    classes = {
        name: kind
        for name, kind in inspect.getmembers(exceptions, inspect.isclass)
        if issubclass(kind, LMError)
    }
    found = {}
    for name, kind in classes.items():
        failure = understand(kind(message="x"))
        found[name] = (failure.remedy, failure.sent)
    assert found == EXPECTED


@pytest.mark.parametrize("code", ["truncated", "empty", "broken_off"])
def test_a_useless_answer_is_paid_and_asked_again(code: str) -> None:
    assert understand(UnusableAnswer("x", code=code)) == Failure(code, "retry", sent=True, answered=True)


def test_a_withheld_answer_is_given_up() -> None:
    assert understand(UnusableAnswer("x", code="content_filter")).remedy == "give_up"


@pytest.mark.parametrize(("status", "remedy"), [(200, "retry"), (None, "give_up"), (418, "give_up")])
def test_a_reply_that_says_all_is_well_and_cannot_be_read_is_asked_again(
    status: int | None, remedy: str
) -> None:
    assert understand(LMProviderError("not JSON", status=status)).remedy == remedy


@pytest.mark.parametrize("error", [ValueError("x"), ImportError("x"), RuntimeError("x"), KeyError("x")])
def test_a_bug_stops(error: Exception) -> None:
    assert understand(error).remedy == "stop"


def beneath(kind: type[Exception]) -> LMTransportError:
    """A break in the connection that a client's error led to."""
    error = LMTransportError("broke")
    error.__cause__ = kind("x")
    return error


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (httpx2.ConnectError, False),
        (httpx2.ConnectTimeout, False),
        (httpx2.PoolTimeout, False),
        (httpx2.ProxyError, False),
        (httpx2.UnsupportedProtocol, False),
        (httpx2.LocalProtocolError, False),
        (ConnectionRefusedError, False),
        (socket.gaierror, False),
        (NotStarted, False),
        (httpx2.ReadTimeout, True),
        (httpx2.ReadError, True),
        (httpx2.WriteError, True),
        (httpx2.RemoteProtocolError, True),
        (ConnectionResetError, True),
        (TimeoutError, True),
    ],
)
def test_what_broke_before_anything_went_out_is_not_billed(kind: type[Exception], sent: bool) -> None:
    assert understand(beneath(kind)).sent is sent


def throw(error: Exception) -> None:
    raise error


def raised_in(around: Exception, first: Exception, then: Exception) -> tuple[Exception, BaseException | None]:
    """An error as it comes out of a call that is made while another is being handled, and that other."""
    try:
        throw(around)
    except Exception:  # noqa: BLE001 - as a caller may
        handled = sys.exc_info()[1]
        try:
            try:
                throw(first)
            except Exception:  # noqa: BLE001 - as a client may
                throw(then)
        except Exception as error:  # noqa: BLE001
            return error, handled
    raise AssertionError


def test_what_led_to_an_error_counts_whether_it_is_named_or_not() -> None:
    error, _ = raised_in(ValueError("x"), httpx2.ConnectError("nobody"), LMTransportError("broke"))
    assert error.__cause__ is None
    assert not understand(error).sent


def test_what_the_caller_was_handling_did_not_lead_to_it() -> None:
    """A second model is asked since the first could not be reached, and breaks off in the middle."""
    error, handled = raised_in(httpx2.ConnectError("x"), httpx2.ReadError("cut"), LMTransportError("broke"))
    assert not understand(error).sent, "as Python tells it"
    assert understand(error, handled).sent
    alike, handled = raised_in(httpx2.ReadError("x"), httpx2.ConnectError("x"), LMTransportError("broke"))
    assert not understand(alike, handled).sent


def test_an_error_that_is_its_own_cause_ends() -> None:
    first, second = LMTransportError("a"), LMTransportError("b")
    first.__cause__, second.__cause__ = second, first
    assert understand(first).sent
    redact(first)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefgh12345678",
        "sk-proj-AbC_dEf-123456789012345",
        "sk-ant-api03-aaaaaaaa1111-bbbb",
        "sk-********************************abcd",
        "gsk_aaaaaaaabbbbbbbb1111",
        "hf_AbCdEfGh1234",
        "xai-abcdefgh1234",
        "AIzaSyA1234567890abcdefghij",
        "0123456789abcdef0123456789abcdef",
    ],
)
@pytest.mark.parametrize("said", ["Bad key: {}.", '{{"error": "{}"}}', "{}", "key '{}' refused"])
def test_what_looks_like_a_key_is_not_shown(secret: str, said: str) -> None:
    text = redacted(said.format(secret))
    assert secret not in text
    assert secret[-6:] not in text
    assert "[key]" in text


@pytest.mark.parametrize(
    "text",
    [
        "The model gpt-4o-mini-2024-07-18 does not exist.",
        "Rate limit reached for claude-3-5-haiku-20241022 in organization: 20 s.",
        "a task-oriented, risk-free sk-learn desk",
        "https://example.com/v1/chat/completions returned 404",
        "Your API keys page is empty.",
    ],
)
def test_ordinary_text_is_shown(text: str) -> None:
    assert redacted(text) == text


@settings(max_examples=40, deadline=None)
@given(st.text(), st.text(min_size=8, max_size=40), st.text())
def test_a_known_secret_is_never_shown(before: str, secret: str, after: str) -> None:
    # Where hiding one thing makes another appear, it is not the secret that was given.
    assert secret not in redacted(f"{before} {secret} {after}", [secret]).replace("[key]", "")


def test_redacting_reaches_messages_attributes_and_causes() -> None:
    cause = OSError("header: Bearer secret.of.mine")
    error = LMProviderError("bad secret.of.mine", request_id="secret.of.mine")
    error.__cause__ = cause
    redact(error, ["secret.of.mine"])
    assert "secret.of.mine" not in f"{error} {error.message} {error.request_id} {cause} {cause.args}"


def test_an_explanation_is_one_sentence_with_advice() -> None:
    error = LMProviderError("It  broke\nin two.\n\nTo fix:\n  - try this", model="openai/m")
    said = explained(error, Failure("server", "retry", sent=True), "openai/m")
    assert said.message == "The model openai/m failed (server): It broke in two."
    assert isinstance(said, ProviderError)
    assert said.hint
    long = explained(DSPyError("x" * 5000), Failure("server", "retry", sent=True), "m")
    assert len(long.message) < 300


def test_of_several_sentences_of_a_vendor_the_first_are_told() -> None:
    words = (
        "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens (8001 in the "
        "messages, 1000 in the completion). Please reduce the length of the messages or completion. Then ask."
    )
    error = ContextWindowExceededError(message=words, status=400)
    said = explained(error, understand(error), "openai/m")
    assert said.message == (
        "The model openai/m failed (context_window_exceeded): This model's maximum context length is 8192 "
        "tokens. However, you requested 9001 tokens (8001 in the messages, 1000 in the completion)."
    )
    assert said.hint == "Use a model with a longer context or fewer demonstrations."
    short = LMProviderError("It broke. At v1.2 of the API. Ask again.")
    assert explained(short, understand(short), "m").message.endswith(
        ": It broke. At v1.2 of the API. Ask again."
    )


def test_a_missing_key_is_told_as_such() -> None:
    said = explained(LMError("x"), Failure("not_configured", "stop", sent=False), "m")
    assert isinstance(said, KeyMissing)
    assert "environment" in said.hint
