"""How long a message asks to wait: what providers and command lines say, word for word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.llm.asked_wait import asked_wait


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        # OpenAI and Groq
        ("Rate limit reached for m. Please try again in 20s. Visit https://x", 20),
        ("Limit 200, Used 200, Requested 1. Please try again in 7m12s. Visit", 432),
        ("Please try again in 1h2m3.5s.", 3723.5),
        ("Please try again in 2h.", 7200),
        ("Please try again in 6ms.", 0.006),
        ("Please try again in 1m6.5s. Need more tokens? Upgrade to Dev Tier today", 66.5),
        # Gemini
        ("You exceeded your current quota. Please retry in 34.07s.", 34.07),
        # Azure
        ("Rate limit is exceeded. Try again in 2 seconds.", 2),
        ("of your current AIServices S0 pricing tier. Please retry after 45 seconds.", 45),
        ("of your current OpenAI S0 pricing tier. Please retry after 86400 seconds.", 86400),
        ("Please retry after 1 second.", 1),
        # Command lines
        ("rate limit: wait for 2 minutes", 120),
        ("Rate limit exceeded, please wait and send your request again after 30 seconds.", 30),
        ("rate limit: retry after 300 milliseconds", 0.3),
        ("ERROR: You've hit your usage limit. Upgrade to Pro or try again in 2 days.", 172_800),
        ("try again in 1 day 4 hours 5 minutes", 100_800 + 300),
        ("try again in 1 hour and 30 secs", 3630),
        ("quota resets in 3 hrs, 20 mins", 12_000),
    ],
)
def test_the_time_that_is_asked_for_is_read(said: str, seconds: float) -> None:
    assert asked_wait(said) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Rate limit reached.",
        "Please try again later.",
        "Please try again with a different prompt",
        "Please try again in a few seconds.",
        "We retry after 3 attempts",
        "Please retry after 30",
        "Please try again in 5 months",
        "We retry in 3 steps",
        "You must wait. The reset took 5 s",
        "Limit 40000 tokens for 1 minute",
        "try again in 99999999999s",
    ],
)
def test_a_message_that_names_no_time_asks_for_none(said: str) -> None:
    assert asked_wait(said) is None


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.booleans())
def test_whatever_is_written_as_hours_minutes_and_seconds_is_their_sum(
    hours: int, minutes: int, seconds: int, short: bool
) -> None:
    said = f"{hours}h{minutes}m{seconds}s" if short else f"{hours} hours {minutes} minutes {seconds} seconds"
    assert asked_wait(f"Try again in {said}.") == hours * 3600 + minutes * 60 + seconds
