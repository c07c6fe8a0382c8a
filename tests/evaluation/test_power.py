import pytest

from skill_fleet.evaluation.power import (
    expected_detectable_effect,
    minimum_detectable_effect,
    pairs_needed,
)
from skill_fleet.evaluation.student_t import regularized_incomplete_beta, t_cdf, t_quantile, t_two_sided


@pytest.mark.parametrize(
    ("probability", "df", "published"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 4, 2.776445),
        (0.95, 9, 1.833113),
        (0.995, 10, 3.169273),
        (0.975, 29, 2.045230),
        (0.9995, 30, 3.645959),
        (0.975, 120, 1.979930),
        (0.975, 1e6, 1.959966),
        (0.8, 7, 0.896030),
    ],
)
def test_quantiles_match_the_published_table(probability, df, published):
    assert t_quantile(probability, df) == pytest.approx(published, abs=2e-6)
    assert t_quantile(1 - probability, df) == pytest.approx(-published, abs=2e-6)
    assert t_cdf(t_quantile(probability, df), df) == pytest.approx(probability, abs=1e-12)


def test_cdf_closed_forms_and_tails():
    assert t_cdf(1.0, 1) == pytest.approx(0.75, abs=1e-14)
    assert t_cdf(-(2.0**0.5), 2) == pytest.approx(0.5 - 2**0.5 / (2 * 2.0), abs=1e-14)
    assert t_cdf(0.0, 5) == pytest.approx(0.5)
    assert 0 < t_two_sided(60, 30) < 1e-30
    assert t_two_sided(-2.0, 8) == pytest.approx(2 * t_cdf(-2.0, 8))


def test_incomplete_beta_known_values():
    assert regularized_incomplete_beta(2, 3, 0.4) == pytest.approx(0.5248, abs=1e-12)
    assert regularized_incomplete_beta(1, 1, 0.3) == pytest.approx(0.3, abs=1e-12)
    assert regularized_incomplete_beta(5, 2, 0.0) == 0.0
    assert regularized_incomplete_beta(5, 2, 1.0) == 1.0


def test_a_quantile_of_certainty_is_refused():
    with pytest.raises(ValueError, match="does not exist"):
        t_quantile(1.0, 5)


@pytest.mark.parametrize(
    ("effect", "sd", "normal_theory"), [(0.05, 0.15, 71), (0.03, 0.15, 196), (0.05, 0.1, 32)]
)
def test_pairs_needed_is_a_few_more_than_normal_theory_says(effect, sd, normal_theory):
    needed = pairs_needed(effect, sd)
    assert normal_theory <= needed <= 1.15 * normal_theory
    assert pairs_needed(-effect, sd) == needed


def test_pairs_in_alike_groups_count_less():
    alone = pairs_needed(0.05, 0.15)
    assert pairs_needed(0.05, 0.15, group_size=4, intra_group_correlation=0.5) > 2.4 * alone
    assert pairs_needed(0.05, 0.15, power=0.9) > alone
    assert pairs_needed(0.05, 0.15, alpha=0.01) > alone
    with pytest.raises(ValueError, match="effect of 0"):
        pairs_needed(0.0, 0.1)


def test_needed_pairs_and_expected_effect_are_two_sides_of_one_thing():
    n = pairs_needed(0.05, 0.15)
    assert expected_detectable_effect(0.15, [1] * n) == pytest.approx(0.05, abs=5e-4)
    assert expected_detectable_effect(0.15, [1] * (n - 2)) > 0.05


def test_no_effect_is_named_where_there_is_none_to_name():
    assert minimum_detectable_effect(0.0, [1] * 10) is None
    assert minimum_detectable_effect(0.1, [5]) is None
    assert minimum_detectable_effect(0.1, [1] * 10, alpha=0.0) is None
    assert minimum_detectable_effect(0.1, [1] * 5) is None, "5 groups have no p-value below 1 in 16"
    assert minimum_detectable_effect(0.1, [1] * 6) > 0.4
    assert expected_detectable_effect(0.9, [1] * 6) is None, "no difference of scores is above 1"
