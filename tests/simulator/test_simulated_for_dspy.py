"""DSPy's own client against each fault: the errors that it raises of real providers, and no more requests.

The table is that of measurements against real servers; what a fault means to a run is decided on these types.
"""

import dspy
import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import (
    ContextWindowExceededError,
    LMAuthError,
    LMBillingError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTransportError,
    LMUnsupportedModelError,
)
from simulator_client import polled

from clocks import FakeClock
from skill_fleet.config.load import environment
from skill_fleet.llm.failures import understand
from skill_fleet.simulator import CATALOGUE, Faults, Limits, Price, SimulatorSettings, running

RAISED = {
    # fault: error, code, what it means, whether it may have been billed, seconds to wait
    "rate_limit": (LMRateLimitError, "rate_limit", "retry", False, 1.0),
    "quota": (LMBillingError, "billing", "stop", False, None),
    "auth": (LMAuthError, "auth", "stop", False, None),
    "context": (ContextWindowExceededError, "context_window_exceeded", "give_up", False, None),
    "not_found": (LMUnsupportedModelError, "unsupported_model", "stop", False, None),
    "server_error": (LMServerError, "server", "retry", True, None),
    "bad_gateway": (LMServerError, "server", "retry", True, None),
    "unavailable": (LMServerError, "server", "retry", True, 1.0),
    "hang": (LMTransportError, "transport", "retry", True, None),
    "reset": (LMTransportError, "transport", "retry", True, None),
    "truncated": (LMTransportError, "transport", "retry", True, None),
    "malformed": (LMProviderError, "provider", "retry", True, None),
}
ANSWERED = {
    # fault: whether there is text, finish reason, whether the usage is known
    "empty": (False, "stop", True),
    "blank": (False, "stop", True),
    "length": (True, "length", True),
    "content_filter": (False, "content_filter", True),
    "no_usage": (True, "stop", False),
    "slow_first_byte": (True, "stop", True),
    "drip": (True, "stop", True),
}


@pytest.fixture(autouse=True)
def packaged_prices():
    """DSPy reads prices from its package from now on, not from the network."""
    environment()


@pytest.fixture
def asked():
    """One attempt at a simulator, by DSPy's own client."""
    opened = []

    def ask(server, prompt="Say hello.", timeout=60.0):
        where = {"api_base": server.url, "api_key": "none", "timeout": timeout}
        lm = dspy.LM("openai/offline/rules-v1", engine="lm15", cache=False, num_retries=0, **where)
        opened.append(lm)
        return lm(request=Request("openai/offline/rules-v1", messages=(Message.user(prompt),)))

    yield ask
    for lm in opened:
        lm.close()


def test_the_tables_hold_every_fault():
    assert {*RAISED, *ANSWERED} == set(CATALOGUE)


@pytest.mark.parametrize("name", RAISED)
def test_what_a_fault_raises(asked, name):
    kind, code, remedy, sent, seconds = RAISED[name]
    faults = Faults({name: 1.0})
    with running(SimulatorSettings(faults=faults, price=Price(1, 1))) as server:
        with pytest.raises(kind) as raised:
            asked(server, timeout=0.3 if name == "hang" else 60.0)
        assert type(raised.value) is kind
        assert raised.value.code == code
        assert raised.value.retry_after == seconds
        failure = understand(raised.value)
        assert (failure.remedy, failure.sent) == (remedy, sent)
        polled(lambda: server.totals().requests == 1)  # who waits 0.3 s may have left before it is read
        totals = server.totals()
        # Whatever was billed without an answer is a failure that says that it may have been.
        assert failure.sent or not totals.billed_without_answer


@pytest.mark.parametrize("name", ANSWERED)
def test_what_an_answer_says(asked, name):
    text, finish, usage = ANSWERED[name]
    with running(
        SimulatorSettings(faults=Faults({name: 1.0}, slow_seconds=0.1), price=Price(1, 1))
    ) as server:
        answer = asked(server)
        totals = server.totals()
    assert bool(answer.message.text) == text
    assert answer.finish_reason == finish
    known = answer.usage.output_tokens if answer.usage else None
    assert bool(known) == usage
    if usage:
        assert (answer.usage.input_tokens, known) == (
            totals.billed_prompt_tokens,
            totals.billed_completion_tokens,
        )


def test_a_limit_is_a_rate_limit_with_its_wait(asked):
    with running(SimulatorSettings(limits=Limits(rps=0.5)), FakeClock()) as server:
        asked(server)
        with pytest.raises(LMRateLimitError) as raised:
            asked(server, "Another.")
    assert raised.value.retry_after == 2.0


def test_a_wait_of_less_than_a_second_is_understood(asked):
    limits = Limits(retry_after=0.05)
    settings = SimulatorSettings(faults=Faults({"rate_limit": 1.0}), limits=limits)
    with running(settings) as server, pytest.raises(LMRateLimitError) as raised:
        asked(server)
    assert raised.value.retry_after == 0.05


def test_plain_dspy_works_with_it():
    with running() as server:
        lm = dspy.LM(
            "openai/offline/rules-v1", api_base=server.url, api_key="none", cache=False, engine="lm15"
        )
        with dspy.context(lm=lm):
            said = dspy.Predict("question -> answer: bool")(question="Is the sky blue?")
            thought = dspy.ChainOfThought("ticket -> label: Literal['billing', 'bug']")(ticket="Refund me.")
        lm.close()
        assert server.totals().answered == 2
    assert isinstance(said.answer, bool)
    assert thought.label in {"billing", "bug"}
