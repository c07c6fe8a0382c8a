"""To what a cap must be raised."""

import pytest

from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.ending.raising import raised_caps


def stopped(**more):
    return {
        "estimate": {"calls": [200, 432], "tokens": [5000, 9000], "usd": [0.5, 1.0], "minutes": [1.0, 3.0]},
        "calls": {"made": 100},
        "tokens": {"input": 1000, "output": 500},
        "usd": 0.25,
        "seconds": 30.0,
        **more,
    }


def test_a_cap_is_raised_to_what_is_spent_and_the_whole_estimate_rounded_up():
    assert raised_caps(Limits(calls=100), stopped()) == Limits(calls=540)
    assert raised_caps(Limits(usd=0.25), stopped()) == Limits(usd=1.3)
    assert raised_caps(Limits(minutes=0.5), stopped()) == Limits(minutes=3.5)


def test_what_suffices_is_left_alone():
    assert raised_caps(Limits(calls=100, usd=5.0), stopped()) == Limits(calls=540)


@pytest.mark.parametrize(
    "limits", [Limits(calls=1000), Limits(calls=1000, usd=8.0), Limits(calls=0), Limits(usd=0)]
)
@pytest.mark.parametrize("estimate", [None, stopped()["estimate"], {**stopped()["estimate"], "usd": None}])
def test_no_cap_is_raised_to_less_than_it_was(limits, estimate):
    raised = raised_caps(limits, stopped(estimate=estimate, usd=None))
    for name in ("calls", "usd"):
        before, after = getattr(limits, name), getattr(raised, name)
        assert before is None or after > before
