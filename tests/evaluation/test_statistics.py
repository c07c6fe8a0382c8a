import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from skill_fleet.evaluation.statistics import alpha_for_read, compare_paired
from skill_fleet.foundation.errors import DataError


def scores_of(differences):
    """Pairs in [0, 1] with the given differences b - a."""
    return [0.5 - d / 2 for d in differences], [0.5 + d / 2 for d in differences]


def singles(n):
    return [f"g{i}" for i in range(n)]


def test_exact_p_value_is_the_share_of_sign_flips_at_least_as_extreme():
    differences = [0.11, -0.02, 0.07, 0.3, 0.01, -0.05, 0.2]
    observed = abs(sum(differences))
    flips = itertools.product((1, -1), repeat=len(differences))
    extreme = sum(
        abs(sum(s * d for s, d in zip(f, differences, strict=True))) >= observed - 1e-12 for f in flips
    )
    got = compare_paired(*scores_of(differences), singles(7))
    assert got.p_value == pytest.approx(extreme / 2**7, abs=1e-12)
    assert "exact" in got.method


def test_the_exact_interval_is_the_set_of_differences_the_test_does_not_refuse():
    differences = [0.11, -0.02, 0.07, 0.3, 0.01, -0.05, 0.2, 0.15]
    low, high = compare_paired(*scores_of(differences), singles(8)).interval

    def p_at(theta):
        shifted = [d - theta for d in differences]
        return compare_paired(*scores_of(shifted), singles(8)).p_value

    for inside in (low + 1e-6, high - 1e-6):
        assert p_at(inside) > 0.05
    for outside in (low - 1e-6, high + 1e-6):
        assert p_at(outside) <= 0.05


def test_sampled_flips_agree_with_all_of_them():
    random = default_rng(3)
    differences = list(random.normal(0.05, 0.1, 17).clip(-1, 1))
    drawn = compare_paired(*scores_of(differences), singles(17), resamples=100_000)
    sums = [0.0]
    for d in differences:
        sums = [s + d for s in sums] + [s - d for s in sums]
    exact = sum(abs(s) >= abs(sum(differences)) - 1e-12 for s in sums) / len(sums)
    assert drawn.p_value == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 100_000))
    assert drawn == compare_paired(*scores_of(differences), singles(17), resamples=100_000)


def test_groups_not_pairs_are_what_is_counted():
    # 40 pairs, but four topics: nothing can be shown by four observations at 5 %.
    differences = [0.2] * 40
    groups = [f"topic{i % 4}" for i in range(40)]
    got = compare_paired(*scores_of(differences), groups)
    assert (got.n, got.groups, got.verdict) == (40, 4, "not_shown")
    assert got.p_value == pytest.approx(2 / 2**4)
    assert got.interval == (-1.0, 1.0)
    assert got.minimum_detectable_effect is None
    assert compare_paired(*scores_of(differences), singles(40)).verdict == "better"


def test_t_interval_against_worked_figures():
    # 30 groups of one pair: mean 0.05, sd 0.1; t(.975, 29) = 2.045230, p of t = 2.738613 on 29 df = .010434
    base = [-1.0, 1.0] * 15
    sd = math.sqrt(sum(x * x for x in base) / 29)
    differences = [0.05 + 0.1 * x / sd for x in base]
    got = compare_paired(*scores_of(differences), singles(30))
    assert got.interval == pytest.approx(
        (0.05 - 2.045230 * 0.1 / math.sqrt(30), 0.05 + 2.045230 * 0.1 / math.sqrt(30)), abs=1e-6
    )
    assert got.p_value == pytest.approx(0.010434, abs=2e-5)
    assert got.verdict == "better"


def test_worse_is_better_turned_round():
    a, b = scores_of([0.1, 0.2, 0.05, 0.12, 0.3, 0.07, 0.02, 0.15])
    better, worse = compare_paired(a, b, singles(8)), compare_paired(b, a, singles(8))
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert worse.interval == pytest.approx((-better.interval[1], -better.interval[0]))
    assert worse.p_value == better.p_value


@pytest.mark.parametrize("n", [1, 3, 12, 40])
def test_identical_scores_show_nothing(n):
    got = compare_paired([0.7] * n, [0.7] * n, singles(n))
    assert (got.delta, got.p_value, got.verdict, got.interval) == (0.0, 1.0, "not_shown", (0.0, 0.0))
    assert got.minimum_detectable_effect is None


def test_differences_that_cancel_within_groups_are_not_significant():
    differences = [0.25, -0.25] * 35
    got = compare_paired(*scores_of(differences), [f"g{i // 2}" for i in range(70)])
    assert (got.p_value, got.verdict) == (1.0, "not_shown")


@pytest.mark.parametrize(
    ("a", "b", "groups"),
    [
        ([], [], []),
        ([0.1], [0.2, 0.3], ["g"]),
        ([0.1], [0.2], []),
        ([0.1], [float("nan")], ["g"]),
        ([0.1], [45.0], ["g"]),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, groups):
    with pytest.raises(DataError):
        compare_paired(a, b, groups)


score = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]) | st.floats(0, 1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(score, score, st.integers(0, 45)), min_size=1, max_size=60),
    st.sampled_from([0.05, 0.0076]),
)
def test_interval_p_value_and_verdict_never_disagree(rows, alpha):
    a, b, groups = zip(*rows, strict=True)
    got = compare_paired(a, b, [str(g) for g in groups], alpha=alpha, resamples=999)
    low, high = got.interval
    assert -1 <= low <= got.delta + 1e-9
    assert got.delta - 1e-9 <= high <= 1
    assert 0 <= got.p_value <= 1
    assert (got.verdict == "better") == (low > 0) == (got.p_value <= alpha and got.delta > 0)
    assert (got.verdict == "worse") == (high < 0) == (got.p_value <= alpha and got.delta < 0)


SIMULATIONS = 2000
LIMIT = 3 * math.sqrt(0.05 * 0.95 / SIMULATIONS)


def differences(random, groups, size, correlation, delta=0.0):
    """Differences between pairs with sd .12 about `delta`, correlated within a group."""
    between = random.normal(0, math.sqrt(correlation), (groups, 1))
    within = random.normal(0, math.sqrt(1 - correlation), (groups, size))
    return (delta + 0.12 * (between + within)).clip(-1, 1).ravel().tolist()


def verdicts(random, groups, size, correlation, delta=0.0, simulations=SIMULATIONS):
    names = [f"g{i}" for i in range(groups) for _ in range(size)]
    for _ in range(simulations):
        yield compare_paired(
            *scores_of(differences(random, groups, size, correlation, delta)), names, resamples=499
        )


@pytest.mark.parametrize(("size", "correlation"), [(1, 0.0), (4, 0.9)])
@pytest.mark.parametrize("groups", [5, 10, 25, 40])
def test_no_difference_is_seldom_called_better_or_worse(groups, size, correlation):
    random = default_rng(1000 * groups + size)
    called = [c.verdict for c in verdicts(random, groups, size, correlation)]
    assert called.count("better") / SIMULATIONS <= 0.025 + LIMIT / math.sqrt(2)
    assert (called.count("better") + called.count("worse")) / SIMULATIONS <= 0.05 + LIMIT
    if groups > 5:
        assert called.count("better") + called.count("worse") > 0.03 * SIMULATIONS, "a test that never speaks"


def test_groups_of_very_different_size_are_not_called_too_often():
    random = default_rng(7)
    sizes = [30, 20, 10] + [1] * 29
    names = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    called = 0
    for _ in range(SIMULATIONS):
        values = [x for size in sizes for x in differences(random, 1, size, 0.9)]
        called += compare_paired(*scores_of(values), names).verdict != "not_shown"
    assert called / SIMULATIONS <= 0.05 + LIMIT


@pytest.mark.parametrize(("groups", "size"), [(8, 1), (12, 3), (25, 1), (40, 2)])
def test_the_interval_covers_the_truth(groups, size):
    random = default_rng(groups)
    found = [c.interval for c in verdicts(random, groups, size, 0.5, delta=0.04, simulations=2000)]
    covered = sum(low <= 0.04 <= high for low, high in found) / len(found)
    assert 0.95 - 3 * math.sqrt(0.05 * 0.95 / 2000) <= covered <= 0.99


def test_power_grows_with_groups_and_the_detectable_effect_is_seen_four_times_of_five():
    random = default_rng(11)
    shares, effects = [], []
    for groups in (8, 15, 28, 60):
        found = list(verdicts(random, groups, 1, 0.0, delta=0.06, simulations=300))
        shares.append(sum(c.verdict == "better" for c in found) / len(found))
        effects.append(sum(c.minimum_detectable_effect for c in found) / len(found))
    assert shares == sorted(shares)
    assert shares[0] < 0.4
    assert shares[-1] > 0.9
    assert effects == sorted(effects, reverse=True)
    for groups, effect in ((15, effects[1]), (60, effects[3])):
        found = list(verdicts(random, groups, 1, 0.0, delta=effect, simulations=400))
        assert 0.74 <= sum(c.verdict == "better" for c in found) / len(found) <= 0.95


def test_alpha_of_all_reads_adds_up():
    spent = [alpha_for_read(k) for k in range(1, 2000)]
    assert spent[0] == pytest.approx(0.0304, abs=1e-4)
    assert spent == sorted(spent, reverse=True)
    assert 0.0499 < sum(spent) < 0.05
    with pytest.raises(ValueError, match="from 1"):
        alpha_for_read(0)
