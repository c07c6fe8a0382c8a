"""Simulated: repeated K-fold calls no-better programs better in no more runs than it may."""

import pytest
from resampled_draws import Design, called

from skill_fleet.evaluation.statistics import alpha_for_read

RUNS = 300
EVEN, UNEVEN = (3,) * 10, (1, 9, 2, 7, 3, 1, 12, 4, 2, 6, 1, 1)
DESIGNS = {
    "5 folds": Design(EVEN),
    "5 x 5 folds": Design(EVEN, repeats=5),
    "5 x 5 folds, alike": Design(EVEN, repeats=5, kind="alike"),
    "7 groups, 3 folds": Design((3,) * 7, folds=3),
    "2 folds": Design(EVEN, folds=2),
    "10 folds": Design(EVEN, folds=10),
    "3 x 5 folds, uneven groups": Design(UNEVEN, repeats=3),
    "3 x 5 folds, pass or fail": Design(EVEN, repeats=3, kind="binary"),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_no_better_programs_are_seldom_called_better(name):
    found = called(DESIGNS[name], RUNS, seed=1)
    assert found.better <= alpha_for_read(1)
    assert found.worse <= 0.05


def test_the_plain_t_over_all_folds_would_be_fooled():
    found = called(DESIGNS["5 x 5 folds, alike"], RUNS, seed=1)
    assert found.naive > 0.08


@pytest.mark.parametrize("design", [Design(EVEN), Design((3,) * 20, repeats=3)], ids=["small", "larger"])
def test_a_true_gain_of_what_is_printed_is_found_in_eight_runs_of_ten(design):
    printed = called(design, RUNS, gain=0.1).effect
    found = called(design, RUNS, gain=printed, seed=3)
    assert 0.75 <= found.better <= 0.95
    assert found.gain == pytest.approx(printed, abs=0.01)
