"""Headers of limits, as providers write them and as nobody should."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clocks import FakeClock
from skill_fleet.llm.limits.limiter import Limiter, Quota
from skill_fleet.llm.limits.rate_headers import Left, duration, left

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1s", 1.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400.0),
        ("7.66s", 7.66),
        ("59", 59.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (str(int(NOW) + 30), 30.0),
        (str((int(NOW) + 30) * 1000), 30.0),
        (dt.datetime.fromtimestamp(NOW + 12, dt.UTC).isoformat(), 12.0),
        (dt.datetime.fromtimestamp(NOW + 12, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), 12.0),
    ],
)
def test_a_reset_is_read_as_it_is_written(text: str, seconds: float) -> None:
    assert duration(text, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "-1s",
        "nan",
        "inf",
        "1e9999",
        "soon",
        "9" * 400,
        "١٢",
        "2020-01-01T00:00:00Z",
        "2026-11-23",
        "s",
    ],
)
def test_what_makes_no_sense_is_ignored(text: str) -> None:
    assert duration(text, NOW) is None
    assert left({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": text}, NOW) == {}


def test_both_families_are_read_in_any_case_and_the_scarcest_counts() -> None:
    openai = {"X-RateLimit-Remaining-Requests": "3", "x-ratelimit-reset-requests": "20ms"}
    assert left(openai, NOW) == {"requests": Left(3, 0.02)}
    at = dt.datetime.fromtimestamp(NOW + 5, dt.UTC).isoformat()
    anthropic = {
        "anthropic-ratelimit-tokens-remaining": "900",
        "anthropic-ratelimit-tokens-reset": at,
        "anthropic-ratelimit-output-tokens-remaining": "100",
        "anthropic-ratelimit-output-tokens-reset": at,
    }
    assert left(anthropic, NOW) == {"tokens": Left(100, 5.0)}


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_does_harm(remaining: str, reset: str) -> None:
    found = left({"x-ratelimit-remaining-tokens": remaining, "x-ratelimit-reset-tokens": reset}, NOW)
    for one in found.values():
        assert 0 <= one.remaining <= 10**12
        assert 0 <= one.reset < float("inf")


@given(st.sampled_from(["999999h", "9" * 12, "99999999s", "1s", "0", "-5", "NaN", str(int(NOW) + 10**8)]))
def test_no_header_holds_calls_longer_than_the_longest_pause(reset: str) -> None:
    clock = FakeClock(NOW)
    limiter = Limiter(clock, longest_pause=60, outage_seconds=120)
    limiter.headers("m", {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset})
    assert limiter.admit(Quota("m"), 1, lambda: False) is not None
    assert clock.time - NOW <= 60.5


@given(st.floats() | st.just(1e308))
def test_no_retry_after_holds_calls_longer_than_the_longest_pause(seconds: float) -> None:
    from skill_fleet.llm.failures import Failure

    clock = FakeClock(NOW)
    limiter = Limiter(clock, longest_pause=60, outage_seconds=1e6)
    for _ in range(3):
        before = clock.time
        ticket = limiter.admit(Quota("m"), 1, lambda: False)
        assert ticket is not None
        assert clock.time - before <= 60.5
        ticket.failed(Failure("rate_limit", "retry", sent=False, retry_after=seconds))
