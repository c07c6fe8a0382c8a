"""What a run would take: laws of the price, and what it says before the start."""

import itertools
from dataclasses import replace

import pytest

from skill_fleet.config.load import load
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.estimates import estimate as estimate_module
from skill_fleet.optimization.estimates.estimate import estimate, size_of_run, sizes_of
from skill_fleet.optimization.estimates.price_check import phase_checks, price_checks
from skill_fleet.optimization.interval import NOTHING, Interval
from skill_fleet.optimization.optimizer import Sizes
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.registry import builtin_optimizers, find_optimizer
from skill_fleet.optimization.search import Effort
from skill_fleet.optimization.searching.canaries import _KINDS
from skill_fleet.optimization.spending import CANARY_KINDS, tried_answers

NAMES = tuple(builtin_optimizers())
MEASURES = ("calls", "tokens", "usd", "minutes")
REWARDED = {"best_of_n", "refine"}
REAL = """
models:
  registry:
    dear: {model: openai/dear, max_tokens: 500, price: {input_per_million: 5, output_per_million: 20}}
    cheap: {model: openai/cheap, max_tokens: 500, price: {input_per_million: 1, output_per_million: 4}}
    unpriced: {model: openai/unpriced, api_base: "http://127.0.0.1:9/v1", max_tokens: 500}
"""


def plan_of(place, name="gepa", **options):
    reward = "triage:plausible" if name in REWARDED else None
    return make_plan(place.request(name, reward=reward, **options), place.loaded)


@pytest.fixture
def real_place(place):
    """A workspace with models that have a price."""
    file = place.root / "config" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(REAL)
    place.loaded = load(place.root, environ={})
    return place


def sizes(auto, train, validation, **more):
    effort = Effort(auto, None, None, 4, 8)
    return Sizes(train, validation, more.pop("predictors", 2), Interval(2, 2.5, 4), effort, **more)


@pytest.mark.parametrize("name", NAMES)
def test_more_examples_are_never_cheaper(name):
    optimizer = find_optimizer(name)
    for auto in ("light", "heavy"):
        for more in ({}, {"labeled": 1, "same_teacher": True, "perfectible": True}, {"round": 2}):
            grown = [(4, 4), (5, 4), (5, 9), (12, 9), (12, 49), (60, 49)]
            # Above 50 validation examples MIPROv2 turns to batches, which can be cheaper than full passes.
            large = [(60, 51), (61, 51), (61, 60), (300, 200)]
            for less, larger in (*itertools.pairwise(grown), *itertools.pairwise(large)):
                before, after = (
                    optimizer.estimate_calls(sizes(auto, *each, **more)) for each in (less, larger)
                )
                assert before.keys() == after.keys()
                for phase, calls in before.items():
                    assert 0 <= calls.low <= calls.high <= calls.most, (phase, calls)
                    assert calls.low <= after[phase].low + 1e-9, (name, auto, phase, calls, after[phase])
                    assert calls.high <= after[phase].high + 1e-9, (name, auto, phase, calls, after[phase])
                    assert calls.most <= after[phase].most + 1e-9, (name, auto, phase, calls, after[phase])


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_is_in_order_and_by_phase_and_model(place, name):
    found = estimate(plan_of(place, name))
    for line in (found, *found["by_phase"].values(), *found["by_model"].values()):
        for measure in MEASURES:
            low, high = line[measure]
            assert 0 <= low <= high
    assert sum(line["calls"][1] for line in found["by_phase"].values()) >= found["calls"][1]
    assert all(line["most"] >= line["calls"][1] - 1 for line in found["by_phase"].values())
    assert found["usd"] == [0, 0], "the simulator costs nothing, and that is known"
    assert found["warnings"] == []


def test_threads_change_only_the_minutes(real_place):
    few, many = (
        estimate(plan_of(real_place, models={"evaluation": "dear"}, num_threads=threads))
        for threads in (2, 32)
    )
    assert few["minutes"][0] > many["minutes"][0]
    for line in (few, many, *few["by_phase"].values(), *many["by_phase"].values()):
        line.pop("minutes")
    few.pop("by_model")
    many.pop("by_model")
    assert few == many


def test_what_nobody_knows_the_price_of_is_null_and_only_that(real_place):
    models = {"evaluation": "dear", "optimization": "unpriced"}
    found = estimate(plan_of(real_place, models=models))
    assert found["usd"] is None
    assert found["by_phase"]["optimization"]["usd"] is None
    assert found["by_model"]["unpriced"]["usd"] is None
    assert 0 < found["by_phase"]["evaluation"]["usd"][0] < found["by_model"]["dear"]["usd"][1]
    assert found["by_model"].keys() == {"dear", "unpriced"}


def test_each_phase_is_priced_at_its_own_model(real_place):
    dear = estimate(plan_of(real_place, "miprov2", models={"evaluation": "dear"}))
    split = estimate(plan_of(real_place, "miprov2", models={"evaluation": "dear", "optimization": "cheap"}))
    for phase in ("evaluation", "profiling"):
        assert dear["by_phase"][phase]["usd"] == split["by_phase"][phase]["usd"]
    for one, other in zip(
        dear["by_phase"]["optimization"]["usd"], split["by_phase"]["optimization"]["usd"], strict=True
    ):
        assert one == pytest.approx(5 * other, rel=0.01)


def test_a_proposal_is_longer_than_a_call_of_the_program(place):
    found = estimate(plan_of(place))["by_phase"]
    per_call = {phase: line["tokens"][1] / line["calls"][1] for phase, line in found.items()}
    assert per_call["optimization"] > 2 * per_call["evaluation"]


def test_what_the_data_do_not_label_is_not_paid_for(place):
    """The first of two steps has no answers in the data: demonstrations leave its prompts as they were."""
    plan = plan_of(place, "labeled_few_shot", program="two_steps:TwoSteps")
    found = sizes_of(plan, size_of_run(plan))
    assert (found.predictors, found.labeled, found.same_teacher) == (2, 1, True)
    whole = plan.optimizer.estimate_calls(replace(found, labeled=2))["evaluation"]
    half = plan.optimizer.estimate_calls(found)["evaluation"]
    assert half.low < 0.6 * whole.low
    assert half.most == whole.most
    none = plan.optimizer.estimate_calls(replace(found, labeled=0))["evaluation"]
    assert (none.low, none.high) == (0, 0)


def test_only_the_named_predictors_count(place):
    plan = plan_of(place, program="two_steps:TwoSteps", modules=("route",))
    assert sizes_of(plan, size_of_run(plan)).predictors == 1


def test_a_round_more_costs_more_and_its_price_begins_where_one_round_does(place):
    one, three = (estimate(plan_of(place, rounds=rounds)) for rounds in (1, 3))
    assert three["calls"][1] > one["calls"][1]
    assert three["calls"][0] == one["calls"][0], "the second round starts only when the first gained"


def test_a_cap_below_the_lowest_estimate_is_said_before_the_start(place):
    low = estimate(plan_of(place))["calls"][0]
    assert estimate(plan_of(place, limits=Limits(calls=low)))["warnings"] == []
    [warning] = estimate(plan_of(place, limits=Limits(calls=low - 1)))["warnings"]
    assert warning["code"] == "cap_below_estimate"
    assert warning["message"] == (
        f"The cap of {low - 1} calls is below the lowest estimate, {low} calls: the search will be cut short."
    )


def test_a_cap_on_dollars_below_the_lowest_estimate_is_said(real_place):
    models = {"evaluation": "dear"}
    low = estimate(plan_of(real_place, models=models))["usd"][0]
    [warning] = estimate(plan_of(real_place, models=models, limits=Limits(usd=low / 2)))["warnings"]
    assert warning["message"].startswith(f"The cap of ${low / 2:g} is below the lowest estimate, ${low:g}")


def test_a_stopped_and_resumed_run_is_held_against_its_first_estimate(place):
    """Stopped it is not below; resumed, the calls of both processes stand beside the first estimate."""
    request = place.request(rounds=1, limits=Limits(calls=100))
    first = place.optimize(request).result.to_json()
    assert first["status"] == "stopped"
    assert [w["code"] for w in first["warnings"]].count("cap_below_estimate") == 1
    assert not any(check.outside == "below" for check in price_checks(first))
    whole = place.resume(first["run_id"], replace(request, limits=Limits())).result.to_json()
    assert whole["status"] == "succeeded"
    assert whole["estimate"]["calls"] == first["estimate"]["calls"]
    assert whole["estimate"]["warnings"] == []
    [calls] = [check for check in price_checks(whole) if check.measure == "calls"]
    assert calls.actual == whole["calls"]["made"] > 100
    assert calls.outside is None
    by_phase = phase_checks(whole)
    made = {phase: int(checks[0].actual) for phase, checks in by_phase.items()}
    assert made == whole["calls"]["by_phase"]
    assert sum(checks[1].actual for checks in by_phase.values()) == sum(whole["tokens"].values())
    assert not any(check.outside for checks in by_phase.values() for check in checks)


def test_prices_by_phase_say_what_lay_outside():
    line = {"calls": [10, 20], "tokens": [100, 200], "usd": None}
    result = {
        "status": "succeeded",
        "estimate": {"by_phase": {"evaluation": line}},
        "by_phase": {
            "evaluation": {"calls": 9, "tokens": 150, "usd": None},
            "judge": {"calls": 1, "tokens": 5, "usd": 0.5},
        },
    }
    found = {phase: [check.outside for check in checks] for phase, checks in phase_checks(result).items()}
    assert found == {"evaluation": ["below", None, None], "judge": ["above", "above", "above"]}
    stopped = phase_checks({**result, "status": "stopped"})
    assert [check.outside for check in stopped["evaluation"]] == [None, None, None]
    assert phase_checks({**result, "by_phase": {}}) == {}
    assert phase_checks({**result, "estimate": None}) != {}
    assert phase_checks({**result, "estimate": {"by_phase": {"evaluation": {"calls": [1, 2]}}}}) == {}


@pytest.mark.parametrize("folds", [None, 3])
def test_trying_the_metric_is_in_the_price_of_its_judge_once(place, monkeypatch, folds):
    plan = plan_of(place, "labeled_few_shot", metric="judging:judged", folds=folds)
    size = size_of_run(plan)
    assert size.judge is not None
    with_it = estimate(plan, size=size)
    monkeypatch.setattr(estimate_module, "tried_answers", lambda _validation: NOTHING)
    without = estimate(plan, size=size)
    more = with_it["by_phase"]["judge"]["most"] - without["by_phase"]["judge"]["most"]
    assert more == 12 * size.judge.calls.most
    assert with_it["by_phase"]["evaluation"] == without["by_phase"]["evaluation"]
    assert with_it["calls"][0] == without["calls"][0], "where nothing is gained nothing is tried"


@pytest.mark.parametrize(("validation", "most"), [(0, 0), (2, 0), (3, 6), (6, 12), (50, 12)])
def test_few_answers_are_tried_and_of_too_few_examples_none(validation, most):
    assert tried_answers(validation).most == most
    assert len(_KINDS) == CANARY_KINDS
