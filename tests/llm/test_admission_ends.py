"""How each end of a call is told on: to the breaker, to the window of tokens, to everybody who waits."""

import math
import random

import pytest

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Call, Place, Quota
from skill_fleet.llm.limits.pace import TokenWindow

ERROR = ProviderError("It is down.")
DOWN = Failure("server", "retry", sent=True)


def enter(core: Admission, now: float, quota: Quota | None = None, tokens: int = 1) -> Place:
    place = Place(quota or Quota("m"), tokens, lambda: None)
    core.enter(place, now)
    return place


def go(core: Admission, now: float, quota: Quota | None = None, tokens: int = 1) -> Call:
    call = enter(core, now, quota, tokens).call
    assert call is not None
    return call


def broken(core: Admission) -> float:
    """Fail until the breaker opens; the time."""
    now = 0.0
    while core.breaker.state == "closed":
        calls = [go(core, now), go(core, now)]
        now += 0.5
        for call in calls:
            if core.breaker.state == "closed":
                core.failed(call, DOWN, ERROR, now)
            else:
                core.dropped(call, now)
        assert now < 20.0
    return now


def test_a_probe_that_was_not_made_after_all_lets_another_go() -> None:
    core = Admission(60.0, 120.0, random.Random(1))
    now = broken(core) + 10.0
    probe = go(core, now)
    assert probe.probe
    waiting = enter(core, now)
    assert waiting.call is None
    core.dropped(probe, now)
    assert waiting.call is not None
    assert waiting.call.probe


def test_tokens_that_a_call_did_not_take_are_free_at_once() -> None:
    core = Admission(60.0, 120.0, random.Random(1))
    quota = Quota("m", tpm=1_000)
    first = go(core, 0.0, quota, 1_000)
    waiting = enter(core, 0.0, quota, 900)
    assert waiting.call is None
    core.answered(first, 100, 1.0)
    assert waiting.call is not None


def test_tokens_that_a_call_took_beyond_what_was_thought_are_counted() -> None:
    core = Admission(60.0, 120.0, random.Random(1))
    quota = Quota("m", tpm=1_000)
    core.answered(go(core, 0.0, quota, 10), 950, 1.0)
    assert enter(core, 1.0, quota, 100).call is None


def test_a_server_out_of_order_that_says_when_to_come_again_is_waited_for_when_the_breaker_is_open() -> None:
    core = Admission(60.0, 120.0, random.Random(1))
    now = broken(core) + 10.0
    core.failed(go(core, now), Failure("server", "retry", sent=True, retry_after=20.0), ERROR, now)
    waiting = enter(core, now)
    core.serve(now + 19.9)
    assert waiting.call is None
    core.serve(now + 24.1)
    assert waiting.call is not None


@pytest.mark.parametrize("asked", [math.nan, math.inf, -math.inf, -5.0])
def test_a_time_to_wait_that_is_none_is_not_heeded(asked: float) -> None:
    core = Admission(60.0, 120.0, random.Random(1))
    core.failed(go(core, 0.0), Failure("rate_limit", "retry", sent=False, retry_after=asked), ERROR, 0.0)
    assert 1.0 <= core.rate.paused_until <= 1.1, "as where nothing was said"


def test_a_server_out_of_order_cannot_make_everybody_wait_longer_than_the_longest_pause() -> None:
    core = Admission(10.0, 600.0, random.Random(1))
    now = broken(core) + 10.0
    core.failed(go(core, now), Failure("server", "retry", sent=True, retry_after=500.0), ERROR, now)
    assert 10.0 <= core.breaker.wait(now) <= 12.0


def test_a_call_probes_five_times_in_a_row_at_most_while_another_waits() -> None:
    core = Admission(60.0, 1e6, random.Random(1))
    now = broken(core) + 10.0
    probe = go(core, now)
    other = enter(core, now)
    turns = 1
    while other.call is None:
        core.failed(probe, DOWN, ERROR, now)
        back = Place(Quota("m"), 1, lambda: None, probes=probe.probes, origin=probe.origin, began=probe.began)
        core.enter(back, now)
        now += 20.0
        core.serve(now)
        if back.call is not None:
            probe, turns = back.call, turns + 1
        assert turns < 50, "nobody else has a turn"
    assert turns == 5
    assert other.call.probe


@pytest.mark.parametrize("said", [-(10**9), -1, 0])
def test_a_usage_below_nothing_does_not_lift_the_limit_of_tokens(said: int) -> None:
    window = TokenWindow()
    window.correct(window.take(0.0, 100), said)
    assert window.wait(0.0, 1_000, 1_000) == 0.0
    window.take(0.0, 1_000)
    assert window.wait(1.0, 1, 1_000) == 59.0
