"""That effects said to be seen are seen: by the very comparison, for few and many groups, of any shape."""

import math

import numpy as np
import pytest

from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.reach import SKEWNESS, _simulated, _skewed, reach
from skill_fleet.evaluation.statistics import alpha_for_read, compare_paired

RUNS = 300
LEAST = 0.8 - 3 * math.sqrt(0.8 * 0.2 / RUNS)
MIXED = (1, 1, 2, 2, 3, 4, 6, 9)


def normal(rng, count):
    return rng.normal(size=count)


def skewed(rng, count):
    """Of skewness -1: a gamma of shape 4, turned round."""
    return -(rng.gamma(4.0, size=count) - 4.0) / 2.0


def bounded(rng, count):
    return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), count)


def comparison(rng, shape, sizes, effect, alpha, sd=0.05):
    """Differences that are those of their group, with this standard deviation."""
    differences = np.repeat(effect + sd * shape(rng, len(sizes)), sizes).clip(-1, 1)
    groups = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    a, b = (0.5 - differences / 2).tolist(), (0.5 + differences / 2).tolist()
    return compare_paired(a, b, groups, alpha=alpha, resamples=999)


def found(rng, shape, sizes, effect, alpha, runs=RUNS):
    made = [comparison(rng, shape, sizes, effect, alpha) for _ in range(runs)]
    return sum(one.verdict == "better" for one in made) / runs


@pytest.mark.parametrize("shape", [normal, skewed, bounded])
@pytest.mark.parametrize(
    ("sizes", "reading"),
    [((3,) * 7, 1), ((3,) * 8, 1), (MIXED, 1), ((3,) * 12, 3), ((2,) * 20, 1), (MIXED * 5, 4)],
    ids=str,
)
def test_a_true_difference_of_what_is_named_is_found_four_times_of_five(shape, sizes, reading):
    rng, alpha = np.random.default_rng(17), alpha_for_read(reading)
    before = expected_detectable_effect(0.05, sizes, alpha=alpha)
    assert found(rng, shape, sizes, before, alpha) >= LEAST
    printed = [comparison(rng, shape, sizes, 0.1, alpha).minimum_detectable_effect for _ in range(60)]
    assert found(rng, shape, sizes, float(np.median(printed)), alpha) >= LEAST


def test_what_is_named_is_no_more_than_it_must_be():
    """By normal differences, of as many groups as the shipped training set's sealed test."""
    rng, alpha = np.random.default_rng(3), alpha_for_read(1)
    effect = expected_detectable_effect(0.05, (4,) * 29, alpha=alpha)
    assert found(rng, normal, (4,) * 29, effect, alpha) < 0.92
    assert found(rng, normal, (4,) * 29, 0.75 * effect, alpha) < 0.75


def test_more_groups_more_alpha_and_less_power_reach_further():
    by_groups = [reach([1] * groups, 0.03, 0.8).of_spread for groups in (7, 8, 10, 13, 20, 29, 30, 60, 300)]
    assert by_groups == sorted(by_groups, reverse=True)
    assert reach([1] * 20, 0.003, 0.8).of_spread > reach([1] * 20, 0.03, 0.8).of_spread
    assert reach([1] * 20, 0.03, 0.5).of_spread < reach([1] * 20, 0.03, 0.8).of_spread


def test_many_groups_come_to_normal_theory():
    assert reach([1] * 5000, 0.05, 0.8).of_error == pytest.approx(1.959964 + 0.841621, rel=2e-3)


def test_the_order_and_the_unit_of_the_sizes_do_not_matter():
    assert reach([2, 4, 6, 8, 2, 4, 8], 0.05, 0.8) is reach([4, 3, 2, 1, 4, 2, 1], 0.05, 0.8)


def test_the_simulation_is_the_same_every_time():
    again = _simulated.__wrapped__
    assert again((1,) * 9, 0.03, 0.8) == again((1,) * 9, 0.03, 0.8)


@pytest.mark.parametrize("skewness", [SKEWNESS, -0.3, 0.0, 0.8])
def test_skewed_noise_has_the_skewness_asked_for(skewness):
    noise = _skewed(np.random.default_rng(1).normal(size=400_000), skewness)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert (noise**3).mean() == pytest.approx(skewness, abs=0.04)
