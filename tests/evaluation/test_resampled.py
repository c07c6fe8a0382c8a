"""The corrected resampled test: the formula by hand, its laws, and what it must never claim."""

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.resampled import HeldOut, compare_resampled, expected_fold_effect
from skill_fleet.evaluation.student_t import t_two_sided
from skill_fleet.foundation.errors import DataError


def fold(differences, groups, searched=8):
    """A fold in which the plain program scores .5."""
    return HeldOut([0.5] * len(differences), [0.5 + d for d in differences], groups, searched)


def one_each(gains, folds):
    """Folds of one-example groups, dealt in turn."""
    names = [f"g{n}" for n in range(len(gains))]
    searched = len(gains) - len(gains) // folds
    return [fold(gains[k::folds], names[k::folds], searched) for k in range(folds)]


GAINS = [0.1, 0.2, 0.05, 0.0, 0.15, 0.1, 0.25, -0.05, 0.1, 0.1]


def test_the_error_is_that_of_nadeau_and_bengio_by_group():
    found = compare_resampled(one_each(GAINS, 5), repeats=1, alpha=0.05)
    plain = statistics.stdev(GAINS) / math.sqrt(10)
    error = plain * math.sqrt(5 * (1 / 5 + 2 / 8))
    assert found.delta == pytest.approx(0.1)
    assert found.p_value == pytest.approx(t_two_sided(0.1 / error, 9))
    assert sum(found.interval) / 2 == pytest.approx(0.1)
    assert found.method == "corrected resampled t over groups (Nadeau-Bengio), 1 x 5 folds"
    assert (found.n, found.groups, found.mean_a, found.mean_b) == (10, 10, 0.5, pytest.approx(0.6))


def test_dealing_again_gains_certainty_only_up_to_a_point():
    widths = []
    for repeats in (1, 2, 10, 1000):
        low, high = compare_resampled(one_each(GAINS, 5) * repeats, repeats=repeats).interval
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] > 0.74 * widths[0], "the same ten groups, however often they are dealt"


def test_no_difference_anywhere_is_said_as_such():
    found = compare_resampled(one_each([0.0] * 10, 5), repeats=1)
    assert (found.verdict, found.p_value, found.interval) == ("not_shown", 1.0, (0.0, 0.0))
    assert found.minimum_detectable_effect is None


@pytest.mark.parametrize(("groups", "verdict"), [(5, "not_shown"), (6, "better")])
def test_groups_that_all_agree_are_no_certainty_where_they_are_few(groups, verdict):
    found = compare_resampled(one_each([0.2] * groups, 2), repeats=1, alpha=0.05)
    assert found.verdict == verdict
    assert found.p_value == 2.0 ** (1 - groups)


def test_a_large_gain_is_found_and_a_large_loss_too():
    gains = [value + 0.2 for value in GAINS]
    assert compare_resampled(one_each(gains, 5), repeats=1, alpha=0.03).verdict == "better"
    assert compare_resampled(one_each([-g for g in gains], 5), repeats=1, alpha=0.03).verdict == "worse"


def test_a_group_counts_once_however_many_examples_and_repeats_it_has():
    few = [fold([0.3] * 20 + [0.1] * 20, ["a"] * 20 + ["b"] * 20), fold([0.2, 0.3], ["c", "c"])]
    found = compare_resampled(few * 3, repeats=3)
    assert found.groups == 3
    assert found.verdict == "not_shown"


folds_of = st.lists(
    st.lists(st.tuples(st.floats(-0.5, 0.5), st.sampled_from("abcdefghij")), min_size=1, max_size=6),
    min_size=2,
    max_size=6,
)


@settings(deadline=None, max_examples=80)
@given(folds_of, st.floats(0.001, 0.2))
def test_p_value_interval_and_verdict_agree_and_sides_mirror(folds, alpha):
    made = [fold([d for d, _ in pairs], [group for _, group in pairs]) for pairs in folds]
    if len({group for pairs in folds for _, group in pairs}) < 2:
        with pytest.raises(DataError, match="1 group"):
            compare_resampled(made, repeats=1, alpha=alpha)
        return
    found = compare_resampled(made, repeats=1, alpha=alpha)
    low, high = found.interval
    assert -1.0 <= low <= high <= 1.0
    assert (found.verdict == "not_shown") == (low <= 0.0 <= high)
    assert found.p_value <= alpha or found.verdict == "not_shown"
    mirrored = [HeldOut(one.b, one.a, one.groups, one.searched) for one in made]
    other = compare_resampled(mirrored[::-1], repeats=1, alpha=alpha)
    assert other.delta == pytest.approx(-found.delta, abs=1e-9)
    assert other.p_value == pytest.approx(found.p_value, abs=1e-6)


@pytest.mark.parametrize("folds", [[], [HeldOut([], [], [], 8)], [HeldOut([0.5], [0.5, 0.5], ["a"], 8)]])
def test_a_fold_without_pairs_is_refused(folds):
    with pytest.raises(DataError, match="no example with a score for both"):
        compare_resampled(folds, repeats=1)


def test_what_could_be_seen_shrinks_with_groups_and_repeats_and_is_none_where_nothing_could():
    def effect(groups, repeats=1, sd=0.15):
        return expected_fold_effect(sd, [3] * groups, folds=5, repeats=repeats, alpha=0.03)

    assert effect(20) < effect(10)
    assert effect(10, repeats=3) < effect(10)
    assert effect(5) is None
    assert effect(10, sd=0.0) is None
    assert effect(1) is None
    assert effect(7, sd=1.0) is None, "more than 1"
    of_half = expected_detectable_effect(0.15, [3] * 5, alpha=0.03)
    assert of_half is None, "where a sealed test of half the groups could show nothing"
