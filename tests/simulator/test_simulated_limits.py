"""A simulated provider's limits: what they let through, for how long, and what they say about it."""

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skill_fleet.foundation.errors import UsageError
from skill_fleet.llm.limits.rate_headers import duration as duration_of
from skill_fleet.simulator.limits import Throttle, duration
from skill_fleet.simulator.settings import Limits

gaps = st.lists(st.floats(0, 0.4), min_size=1, max_size=150)


def taken(limits: Limits, steps: list[float]) -> list[float]:
    """When requests were let in, of one after each step."""
    now, out = 0.0, []
    throttle = Throttle(limits, now)
    for step in steps:
        now += step
        if throttle.admit(1, now) is None:
            out.append(now)
    return out


@given(st.floats(0.5, 30), st.integers(1, 20), gaps)
def test_a_bucket_lets_no_more_through_than_its_burst_and_its_rate(rate, burst, steps):
    times = taken(Limits(rps=rate, burst=burst), steps)
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - start) + 1e-6


tenths = st.integers(1, 60).map(lambda number: Fraction(number, 10))


@given(tenths, tenths, st.one_of(gaps, st.just([0.01] * 150), st.just([0.0] * 150)))
@example(Fraction(1, 2), Fraction(1), [0.25] * 150)  # --rpm 30 --window 1: one a second was too many
@example(Fraction(5, 2), Fraction(1), [0.01] * 400)  # and three in any second are
def test_a_window_lets_through_what_it_holds_and_no_more_than_the_rate_for_long(rate, seconds, steps):
    times = taken(Limits(rps=float(rate), window=float(seconds)), steps)
    for first, start in enumerate(times):
        within = [time for time in times[first:] if time < start + float(seconds) - 1e-6]
        assert len(within) - 1 < rate * seconds, "a whole number of requests, the next to what it holds"
        for last in range(first, len(times)):
            span = times[last] - start
            assert last - first + 1 < rate * (span + float(seconds)) + 1 + 1e-6


@given(tenths, tenths)
@example(Fraction(1, 2), Fraction(1))
@example(Fraction(5, 2), Fraction(1))  # two in any second are less than the rate
def test_who_always_asks_a_window_gets_the_rate(rate, seconds):
    throttle, now, count = Throttle(Limits(rps=float(rate), window=float(seconds)), 1e5), 1e5, 0
    while now - 1e5 < 100 * seconds:
        refused = throttle.admit(1, now)
        if refused is None:
            count += 1
        else:
            span = now + refused.seconds - 1e5  # until then nobody else comes through
            assert rate * span - 1e-6 <= count < rate * (span + float(seconds)) + 1
            now += refused.seconds


@given(
    st.sampled_from(
        [
            Limits(rps=10),
            Limits(rps=2.5, window=1),
            Limits(rpm=30, window=1),
            Limits(rps=7, window=3),
            Limits(rpm=100, burst=9),
            Limits(rpm=1.8),
        ]
    ),
    gaps,
)
def test_what_the_headers_say_is_so(limits, steps):
    """So many more come through now; after the reset it is as at the beginning, and not before."""
    fresh, now = dict(Throttle(limits, 0.0).headers(0.0)), sum(steps)
    said = dict(used(limits, steps).headers(now))
    assert float(said["x-ratelimit-limit-requests"]) <= 60 * limits.rate + 1e-6
    throttle = used(limits, steps)
    more = sum(throttle.admit(1, now) is None for _ in range(30))
    assert more == int(said["x-ratelimit-remaining-requests"])
    reset = duration_of(said["x-ratelimit-reset-requests"], 0.0)
    assert dict(used(limits, steps).headers(now + reset)) == fresh
    if reset > 0.002:  # it is told in whole milliseconds, rounded up
        before = dict(used(limits, steps).headers(now + reset - (0.002 if reset < 60 else 1.002)))
        assert before["x-ratelimit-reset-requests"] != "0ms"
        assert before["x-ratelimit-remaining-requests"] != fresh["x-ratelimit-remaining-requests"]


def used(limits, steps):
    """A throttle that was asked after each step."""
    throttle, now = Throttle(limits, 0.0), 0.0
    for step in steps:
        now += step
        throttle.admit(1, now)
    return throttle


def test_less_than_one_a_minute_is_no_whole_number():
    assert [name for name, _ in Throttle(Limits(rpm=0.5), 0.0).headers(0.0)] == [
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ]


@given(st.floats(0.5, 30), st.one_of(st.none(), st.floats(0.5, 3)), gaps)
def test_after_the_wait_it_names_there_is_room(rate, window, steps):
    throttle, now = Throttle(Limits(rps=rate, window=window), 0.0), 0.0
    for step in steps:
        now += step
        refused = throttle.admit(1, now)
        if refused is not None:
            assert refused.by == "requests"
            assert refused.seconds is not None
            now += refused.seconds + 1e-6
            assert throttle.admit(1, now) is None


def test_a_burst_is_one_second_s_worth_by_default():
    assert len(taken(Limits(rps=10), [0.0] * 30)) == 10
    assert len(taken(Limits(rpm=600), [0.0] * 30)) == 10
    assert len(taken(Limits(rps=0.2), [0.0] * 30)) == 1
    assert len(taken(Limits(rps=10, burst=3), [0.0] * 30)) == 3


def test_what_is_turned_away_uses_nothing_up():
    throttle = Throttle(Limits(rps=1), 0.0)
    assert throttle.admit(1, 0.0) is None
    for _ in range(100):
        assert throttle.admit(1, 0.5) is not None
    assert throttle.admit(1, 1.0) is None


def test_tokens_of_prompts_and_answers_count():
    throttle = Throttle(Limits(tpm=600), 0.0)
    assert throttle.admit(200, 0.0) is None
    throttle.answered(500, 0.0)  # overdrawn by 100, which take 10 s
    refused = throttle.admit(50, 0.0)
    assert refused is not None
    assert (refused.by, refused.seconds) == ("tokens", pytest.approx(15.0))
    assert throttle.admit(50, 14.9) is not None
    assert throttle.admit(50, 15.1) is None


def test_a_prompt_larger_than_the_limit_never_fits_and_no_time_is_named():
    refused = Throttle(Limits(tpm=600), 0.0).admit(601, 0.0)
    assert refused is not None
    assert refused.seconds is None


def test_requests_under_way_are_bounded_and_no_time_is_named():
    throttle = Throttle(Limits(max_in_flight=2), 0.0)
    assert [throttle.admit(1, 0.0) for _ in range(2)] == [None, None]
    refused = throttle.admit(1, 0.0)
    assert refused is not None
    assert (refused.by, refused.seconds) == ("in_flight", None)
    throttle.in_flight -= 1
    assert throttle.admit(1, 0.0) is None


def test_the_headers_say_what_is_left():
    throttle = Throttle(Limits(rps=10, tpm=6000), 0.0)
    for _ in range(4):
        throttle.admit(100, 0.0)
    assert dict(throttle.headers(0.0)) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "6",
        "x-ratelimit-reset-requests": "400ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5600",
        "x-ratelimit-reset-tokens": "4s",
    }
    throttle.answered(6000, 0.0)
    assert dict(throttle.headers(0.0))["x-ratelimit-remaining-tokens"] == "0"
    assert Throttle(Limits(rps=10, rate_headers=False), 0.0).headers(0.0) == []
    assert Throttle(Limits(), 0.0).headers(0.0) == []
    window = Throttle(Limits(rps=2, window=5), 0.0)
    for now in (0.0, 3.0):
        window.admit(1, now)
    assert dict(window.headers(4.0)) == {
        "x-ratelimit-limit-requests": "120",
        "x-ratelimit-remaining-requests": "8",
        "x-ratelimit-reset-requests": "4s",
    }


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0201, "21ms"),
        (0.02 + 1e-12, "20ms"),
        (1e-12, "0ms"),
        (0.0, "0ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (59.123, "59.123s"),
        (59.9999, "1m0s"),
        (360, "6m0s"),
        (360.001, "6m1s"),
    ],
)
def test_durations_are_written_as_openai_does(seconds, written):
    assert duration(seconds) == written


@pytest.mark.parametrize(
    "options",
    [
        {"rps": 0},
        {"rps": -1},
        {"rps": math.nan},
        {"rpm": math.inf},
        {"burst": 0},
        {"tpm": 0},
        {"max_in_flight": 0},
        {"retry_after": -1},
        {"rps": 1, "rpm": 60},
        {"rps": 1, "burst": 2, "window": 1},
        {"burst": 2},
        {"window": 2},
    ],
)
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        Limits(**options)
