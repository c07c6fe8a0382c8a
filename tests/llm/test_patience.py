"""Calls that wait long for a provider: from when that is said, in which words, how often."""

from typing import Any

import pytest
from dspy.utils.exceptions import LMServerError

from clocks import FakeClock
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.calls.patience import Patience, Rarely, Waiting, waiting_for
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.limiter import Limiter, LimiterState, Quota
from skill_fleet.llm.testing import ScriptedModel

DOWN = Failure("server", "retry", sent=True)


def state(**other: Any) -> LimiterState:
    return LimiterState(
        **{
            "paused": 0.0,
            "breaker": "closed",
            "rate": None,
            "in_flight": 0,
            "waiting": 1,
            "admitted": 9,
            "rejected": 0,
            "outage": 120.0,
            **other,
        }
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (state(), None),
        (state(silent=4.9, because="server", breaker="open"), None),
        (state(paused=4.9), None),
        (
            state(silent=12.3, because="server", breaker="open"),
            "No answer from openai (server) for 12 s; given up after 120 s.",
        ),
        (state(silent=6.0, because="timeout"), "No answer from openai (timeout) for 6 s."),
        (
            state(silent=7.0, because="rate_limit", paused=53.4),
            "No answer from openai (rate_limit) for 7 s; calls go on in 53 s; given up after 120 s.",
        ),
        (state(paused=59.6), "openai turns calls away for now: they go on in 60 s."),
    ],
)
def test_what_is_said_of_an_account_that_keeps_its_calls_waiting(
    found: LimiterState, said: str | None
) -> None:
    waiting = waiting_for("openai", found)
    assert (waiting.message if waiting else None) == said
    if waiting is not None:
        assert waiting.to_json()["message"] == said


def test_a_limiter_knows_for_how_long_nobody_was_answered_and_why() -> None:
    clock = FakeClock()
    limiter = Limiter(clock, longest_pause=60.0, outage_seconds=100.0)
    first, second = (limiter.admit(Quota("m"), 1, lambda: False) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (limiter.state().silent, limiter.state().because) == (0.0, "")
    first.failed(DOWN, ProviderError("Down.", code="server"))
    clock.sleep(7.0)
    assert (limiter.state().silent, limiter.state().because) == (7.0, "server")
    assert limiter.state().outage == 100.0
    second.answered(3)
    assert (limiter.state().silent, limiter.state().because) == (0.0, "")


def test_looks_are_about_a_second_apart_for_each_account() -> None:
    patience, heard, looked = Patience(), [], []
    away = state(silent=50.0, because="server")

    def look(account: str, now: float) -> None:
        patience.look(account, account, lambda: looked.append(now) or away, now)

    look("a", 0.0)
    assert looked == [], "nobody listens"
    patience.listener = heard.append
    for now in (0.0, 0.2, 0.9, 1.0, 1.5, 2.1):
        look("a", now)
    look("b", 2.1)
    assert looked == [0.0, 1.0, 2.1, 2.1]
    assert [waiting.provider for waiting in heard] == ["a", "a", "a", "b"]


def test_rarely_is_at_most_once_in_so_long() -> None:
    rarely = Rarely(10.0)
    assert [now for now in range(0, 31, 3) if rarely.due(now)] == [0, 12, 24]


def test_a_call_that_waits_for_a_provider_says_so(rig: Any, clock: FakeClock) -> None:
    def fault(number: int, _: Any) -> None:
        if number < 5:
            raise LMServerError("down", status=500)

    heard = list[Waiting]()
    limiter = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
    spec = ModelSpec(model="openai/priced", max_tokens=100)
    made = rig(ScriptedModel(fault=fault), spec=spec, limiter=limiter, retry=Retry())
    made.engine.line.patience.listener = heard.append
    made.lm("hello")
    assert heard
    assert all(waiting.seconds >= 5.0 for waiting in heard)
    assert heard[0].message.startswith("No answer from openai (server) for ")
    assert len(heard) <= 16
    before = len(heard)
    made.lm("and now?")
    assert len(heard) == before
