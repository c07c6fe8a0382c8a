"""Attacks on the deciding rule, small: `benchmarks/honesty.py` takes as many as it needs for its table."""

import honesty_attacks as attacks
import honesty_draws as draws
import honesty_leaks as leaks
import pytest

from skill_fleet.evaluation.statistics import alpha_for_read
from skill_fleet.optimization.registry import builtin_optimizers


@pytest.mark.parametrize("shape", [draws.LARGE, draws.SMALL], ids=lambda shape: shape.name)
def test_the_best_of_many_no_better_candidates_is_not_called_better(shape):
    found = draws.accepted(shape, 30, 200)
    assert found.sealed <= draws.upper(alpha_for_read(1), found.runs)
    assert found.strict > 0.8, "a gain on validation alone would have accepted it"
    assert found.one_error > 0.5


def test_ten_readings_of_one_test_are_wrong_no_oftener_than_one():
    found = draws.read_again(draws.SMALL, 10, 300)
    assert found.spent <= 0.05
    assert found.flat > 0.08, "without a level for each reading they are"


def test_a_true_gain_of_what_is_said_to_be_seen_is_seen():
    printed = draws.accepted(draws.LARGE, 1, 60, gain=0.1).effect
    assert 0.05 < printed < 0.1
    found = draws.accepted(draws.LARGE, 1, 200, gain=printed, seed=1)
    assert found.found >= draws.lower(0.8, 200)


@pytest.mark.parametrize(("groups", "reading"), [(8, 1), (12, 4)])
def test_a_difference_as_large_as_is_named_is_found_where_groups_are_few(groups, reading):
    found = draws.named(groups, reading, 200, skewness=-1.0)
    assert min(found.before, found.after) >= draws.lower(0.8, 200)
    assert found.formula < 0.75, "quantiles of t promise too much"


def test_breeding_from_the_best_in_rounds_is_not_called_better():
    found = draws.in_rounds(draws.MIDDLE, 3, 10, 200)
    assert found.sealed <= draws.upper(alpha_for_read(1), found.runs)
    assert found.strict > 0.9
    assert found.one_error > 0.8


def test_several_no_better_programs_in_one_comparison_share_its_alpha():
    found = draws.compared(draws.MIDDLE, 5, 150)
    assert found.spent <= draws.upper(alpha_for_read(1), found.runs)
    assert found.flat > found.spent


@pytest.mark.parametrize(
    "kind", ["LMAuthError", "LMRateLimitError", "LMServerError", "LMInvalidRequestError", "truncated"]
)
def test_without_a_single_answer_there_is_no_score_anywhere(kind):
    done, shown, published = attacks.all_calls_fail("gepa", kind)
    assert (done.result.status, done.error.exit_code) == ("failed", 6)
    assert shown == []
    assert not published


def test_examples_that_fail_leave_the_mean_of_the_others_as_it_is():
    found = attacks.some_examples_fail("gepa")
    assert found.failing > 10
    assert found.excluded > 0
    assert found.reported == found.expected
    assert found.zeros[1] < found.expected[1]


@pytest.mark.parametrize("kind", [kind for kind in leaks.KINDS if kind not in leaks.HARD])
def test_planted_leaks_are_kept_together_or_reported(kind):
    found = leaks.plant(kind, 8)
    assert found.either == found.planted == 8


def test_of_the_shipped_set_nothing_is_reported():
    assert leaks.reported_of_clean() == 0


@pytest.mark.parametrize(
    "name", ["percent", "negative", "not_a_number", "nothing", "nothing_when_wrong", "words"]
)
def test_a_metric_that_breaks_on_an_answer_is_refused_by_name(name):
    done = attacks.lying_metric(f"hostile:{name}")
    assert (done.result.status, done.error.code) == ("failed", "metric")
    assert f"The metric {name} returned" in done.error.message
    assert attacks.scores_in(done) == []
    assert done.result.calls["by_phase"].keys() == {"evaluation"}


def test_a_judge_that_can_be_talked_into_full_marks_is_named():
    done = attacks.gamed_judge()
    assert done.result.verdict == "better", "the judge is the user's: nothing else says what is good"
    assert "metric_gamed" in {warning["code"] for warning in done.result.warnings}
    assert "Zorvel" in done.result.rounds[-1]["instructions"]["reply"]


def test_feedback_that_gives_every_answer_away_gives_none_of_the_test_away():
    seen = attacks.watch("gepa", metric="hostile:telling", rounds=1)
    assert seen.prompts_before == seen.scored_before == seen.kept == 0
    assert seen.after > 0


@pytest.mark.parametrize("optimizer", ["gepa", "miprov2"])
def test_a_cap_that_leaves_no_room_for_the_sealed_test_gives_no_verdict(optimizer):
    case = attacks.Uncapped(optimizer, {"rounds": 1, "trials": 1, "holdout": attacks.TEST_HELD})
    found = case.capped(case.whole.calls["made"] - 1)
    assert found.stage == "sealed test"
    assert found.verdict == "not_shown"
    assert found.honest, found


def test_a_cap_met_while_a_candidate_is_validated_holds():
    case = attacks.Uncapped("unmeasured")
    found = case.capped(77)
    assert found.stage == "validation"
    assert found.honest, found


@pytest.mark.parametrize("optimizer", sorted(builtin_optimizers()))
def test_no_test_example_is_asked_or_scored_before_the_search_is_over(optimizer):
    seen = attacks.watch(optimizer, rounds=1, trials=2)
    assert seen.prompts_before == seen.scored_before == 0
    assert seen.prompts > 0
    assert seen.after > 0
