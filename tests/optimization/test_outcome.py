"""What is said of a run that has no verdict: found nothing is not the same as was cut off before it could."""

import pytest

from skill_fleet.optimization.ending.outcome import nothing_compared, without_verdict


def result(*, status: str, stopped: str | None, chosen: int) -> dict:
    return {
        "status": status,
        "folds": None,
        "examples": {"test": 10},
        "published": None,
        "rounds": [{"round": 1, "stopped": None}] * (chosen > 0) + [{"round": 2, "stopped": stopped}],
        "pareto": [{"chosen": number == chosen, "round": number} for number in range(2)],
    }


@pytest.mark.parametrize("cause", ["provider", "interrupted", "budget"])
def test_a_search_that_was_cut_off_is_not_said_to_have_found_nothing(cause: str) -> None:
    cut = result(status="stopped", stopped=cause, chosen=0)
    assert without_verdict(cut) == "The search was cut off before it found anything better."
    assert nothing_compared(cut) == (
        "none: the search was cut off before it found anything better, so there is nothing to compare"
    )


def test_a_search_that_ended_and_found_nothing_says_so() -> None:
    whole = result(status="succeeded", stopped=None, chosen=0)
    assert without_verdict(whole) == "Nothing better was found; the plain program was kept."
    assert nothing_compared(whole).startswith("none: no program did better on the validation set")


def test_what_was_found_before_a_search_was_cut_off_is_still_to_be_tested() -> None:
    found = result(status="stopped", stopped="provider", chosen=1)
    assert without_verdict(found) == "Not measured on the sealed test."
    assert nothing_compared(found) == "none: the optimized program was not measured on the test"
