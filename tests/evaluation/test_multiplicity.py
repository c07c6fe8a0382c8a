"""Holm's procedure over several candidates: its laws, and how often it is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.evaluation.multiplicity import compare_with_reference, holm, holm_levels
from skill_fleet.evaluation.statistics import compare_paired

p_values = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.01, 0.05, 1.0]), min_size=1, max_size=8)
alphas = st.sampled_from([0.05, 0.03, 0.0076])


def test_a_worked_case():
    # Four p-values: .005 x 4, .01 x 3, then .03 x 2, and .04 x 1 is pulled up to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_levels([0.01, 0.04, 0.03, 0.005], 0.05) == pytest.approx([0.05 / 3, 0.025, 0.025, 0.0125])
    assert holm([]) == []


@given(p_values, alphas)
def test_it_never_shows_more_than_without_and_never_less_than_bonferroni(values, alpha):
    shown = [adjusted <= alpha for adjusted in holm(values)]
    for value, is_shown in zip(values, shown, strict=True):
        assert not is_shown or value <= alpha
        assert is_shown or value * len(values) > alpha


@given(p_values, alphas)
def test_the_level_and_the_adjusted_value_say_the_same(values, alpha):
    for value, adjusted, level in zip(values, holm(values), holm_levels(values, alpha), strict=True):
        if abs(value - level) > 1e-12:
            assert (value <= level) == (adjusted <= alpha)
        assert alpha / len(values) <= level <= alpha


@given(p_values, alphas, st.randoms(use_true_random=False))
def test_the_order_of_the_p_values_does_not_matter(values, alpha, random):
    order = list(range(len(values)))
    random.shuffle(order)
    mixed = [values[index] for index in order]
    assert holm(mixed) == [holm(values)[index] for index in order]
    assert holm_levels(mixed, alpha) == [holm_levels(values, alpha)[index] for index in order]


def family(rng, candidates, groups, gains=0.0, size=2):
    """A reference and candidates that are better by these gains, in [0, 1]; luck is shared in a group."""
    names = [f"g{number}" for number in range(groups) for _ in range(size)]
    level = rng.normal(0.5, 0.08, groups * size)

    def luck(lead):
        shared = np.repeat(rng.normal(size=(*lead, groups)), size, axis=-1)
        return 0.07 * shared + 0.08 * rng.normal(size=(*lead, groups * size))

    tested = level + luck((candidates,)) + np.reshape(gains, (-1, 1))
    return (level + luck(())).clip(0, 1).tolist(), tested.clip(0, 1).tolist(), names


@pytest.mark.parametrize("groups", [9, 21, 35])
def test_one_candidate_is_compared_as_ever(groups):
    reference, [candidate], names = family(np.random.default_rng(groups), 1, groups)
    [found] = compare_with_reference(reference, [candidate], names, alpha=0.03)
    assert found.comparison == compare_paired(reference, candidate, names, alpha=0.03)
    assert found.p_adjusted == found.comparison.p_value
    assert found.simultaneous == found.comparison.interval


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([8, 12, 32]), st.integers(2, 5))
def test_interval_verdict_and_adjusted_value_never_disagree(seed, groups, candidates):
    rng = np.random.default_rng(seed)
    reference, tested, names = family(rng, candidates, groups, rng.choice([-0.2, 0.0, 0.1, 0.25], candidates))
    found = compare_with_reference(reference, tested, names, alpha=0.05)
    for one in found:
        low, high = one.comparison.interval
        assert (one.comparison.verdict != "not_shown") == (one.p_adjusted <= 0.05) == (low > 0 or high < 0)
        assert one.simultaneous[0] <= low
        assert high <= one.simultaneous[1]
    turned = compare_with_reference(reference, tested[::-1], names, alpha=0.05)
    assert turned[::-1] == found


@pytest.mark.parametrize("candidates", [2, 5, 10])
@pytest.mark.parametrize("groups", [10, 30])
def test_no_better_candidates_are_called_better_in_at_most_alpha_of_families(candidates, groups):
    rng, runs, alpha = np.random.default_rng(candidates), 250, 0.05
    wrong = plain = 0
    for _ in range(runs):
        reference, tested, names = family(rng, candidates, groups)
        found = compare_with_reference(reference, tested, names, alpha=alpha)
        wrong += any(one.comparison.verdict != "not_shown" for one in found)
        plain += any(one.comparison.p_value <= alpha for one in found)
    assert wrong / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert plain > wrong


def test_a_much_worse_candidate_does_not_let_a_no_better_one_through():
    """Once the worse one is shown, the others are asked for less: what is allowed, and no more."""
    rng, runs, alpha = np.random.default_rng(5), 300, 0.05
    wrong = 0
    for _ in range(runs):
        reference, tested, names = family(rng, 3, 20, [-0.4, 0.0, 0.0])
        found = compare_with_reference(reference, tested, names, alpha=alpha)
        assert found[0].comparison.verdict == "worse"
        wrong += any(one.comparison.verdict == "better" for one in found)
    assert wrong / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_the_simultaneous_intervals_hold_together():
    rng, runs, alpha = np.random.default_rng(8), 250, 0.05
    gains = np.asarray([0.0, 0.05, 0.1])
    held = 0
    for _ in range(runs):
        reference, tested, names = family(rng, 3, 12, gains)
        found = compare_with_reference(reference, tested, names, alpha=alpha)
        held += all(
            one.simultaneous[0] <= gain <= one.simultaneous[1] for one, gain in zip(found, gains, strict=True)
        )
    assert held / runs >= 1 - alpha - 3 * math.sqrt(alpha * (1 - alpha) / runs)
