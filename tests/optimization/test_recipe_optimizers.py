"""Optimizers whose result is a recipe, in whole runs: found, paid for, published, compared, gone on with."""

import json
import re

import pytest
import triage

from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.core.programs.recipes.nearest import NearestDemos
from skill_fleet.core.programs.recipes.recipe import Recipe
from skill_fleet.core.programs.recipes.sampled import Sampled
from skill_fleet.core.programs.recipes.voting import Ensemble
from skill_fleet.core.programs.rewards import SKILL_REWARD
from skill_fleet.foundation.errors import MetricError, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.request import OptimizationRequest

REWARD = "triage:plausible"
QUEUES = tuple(triage.WORDS)


def said(**fields):
    text = "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items())
    return text + "[[ ## completed ## ]]"


class Varied:
    """The offline model, which guesses when it is asked again."""

    def __init__(self, inner):
        self.inner = inner

    def complete(self, request):
        rollout = current_call().rollout
        if rollout is None:
            return self.inner.complete(request)
        return ScriptedModel(answer=lambda _: said(queue=QUEUES[rollout % 4])).complete(request)

    async def acomplete(self, request):
        return self.complete(request)


class Advised(Varied):
    """The offline model, which knows better once it is asked what went wrong, and does as it is told."""

    def complete(self, request):
        text = request_text(request)
        if "assign blame" in text:
            ticket = re.search(r'"ticket": "(.*)"', text)[1]
            queue = next(queue for queue, words in triage.WORDS.items() if any(w in ticket for w in words))
            advice = json.dumps({"triage": f"Answer {queue}."})
            return ScriptedModel(answer=lambda _: said(discussion="x", advice=advice)).complete(request)
        hint = re.search(r"Answer (\w+)\.", text)
        if hint is None:
            return self.inner.complete(request)
        return ScriptedModel(answer=lambda _: said(queue=hint[1])).complete(request)


def published(place, done):
    return load_artifact(place.root / done.result.artifact).program


def test_best_of_n_is_better_where_answers_vary_and_its_price_is_told(place):
    request = place.request("best_of_n", reward=REWARD, trials=6)
    done = place.optimize(request, wrap=Varied)
    assert (done.error, done.result.verdict, done.result.published) == (None, "better", "candidate")
    found = published(place, done)
    assert isinstance(found, Sampled)
    # All four queues are guessed in five attempts: a sixth is paid for to see that, and is not taken.
    assert found.recipe == {"kind": "best_of_n", "n": 5, "reward": REWARD}
    assert program_hash(found) == done.result.program_hash
    cost = done.result.cost_per_answer
    assert cost["baseline"]["calls"] == 1.0
    assert cost["optimized"]["calls"] > 2.0
    assert len(done.result.rounds) == 1, "a recipe is the end"


def test_refine_is_better_where_advice_helps(place):
    done = place.optimize(place.request("refine", reward=REWARD, trials=2), wrap=Advised)
    assert (done.error, done.result.verdict) == (None, "better")
    assert done.result.optimized["test"] == 1.0
    found = published(place, done)
    assert found.recipe == {"kind": "refine", "n": 2, "reward": REWARD}
    # The answer, for three in four a question for advice, and a second answer.
    assert done.result.cost_per_answer["optimized"]["calls"] > 2.0


@pytest.mark.parametrize("name", ["best_of_n", "refine"])
def test_where_asking_again_changes_nothing_the_plain_program_is_kept(place, name):
    done = place.optimize(place.request(name, reward=REWARD, trials=3))
    assert (done.error, done.result.published) == (None, "baseline")
    assert "no_accepted_proposal" in [warning["code"] for warning in done.result.warnings]
    assert not isinstance(published(place, done), Recipe)


def test_knn_shows_the_nearest_at_no_further_call(place):
    done = place.optimize(place.request("knn_few_shot", trials=3))
    assert (done.error, done.result.verdict) == (None, "better")
    found = published(place, done)
    assert isinstance(found, NearestDemos)
    assert 1 <= found.recipe["k"] <= 4
    assert found.recipe["predictors"] == ["triage"]
    assert set(found.recipe["examples"][0]) == {"ticket", "queue"}
    assert done.result.cost_per_answer["optimized"]["calls"] == 1.0
    tested = {item.id for item in make_plan(place.request("knn_few_shot"), place.loaded).split.test}
    shown = {example["ticket"] for example in found.recipe["examples"]}
    assert not shown & {one["ticket"] for one in triage.tickets() if one["id"] in tested}


def test_an_ensembles_votes_cost_no_call_beyond_its_search(places):
    found = {}
    for name in ("bootstrap_random_search", "ensemble"):
        place = places(name)
        done = place.optimize(place.request(name, trials=3, rounds=1, num_threads=1))
        assert done.error is None
        found[name] = done.result
    assert found["ensemble"].rounds[0]["calls"] == found["bootstrap_random_search"].rounds[0]["calls"]
    assert found["ensemble"].rounds[0]["score"] >= found["bootstrap_random_search"].rounds[0]["score"]
    program = published(place, done)
    assert isinstance(program, Ensemble)
    assert found["ensemble"].cost_per_answer["optimized"]["calls"] == len(program.members)


def test_over_free_text_an_ensemble_is_its_best_member(place):
    options = {"program": "rewards:Wordy", "trials": 2, "rounds": 1}
    done = place.optimize(place.request("ensemble", **options))
    assert done.error is None
    folder = next(place.loaded.workspace.runs.iterdir())
    assert not isinstance(load_artifact(folder / "candidate.json").program, Recipe)
    assert done.result.cost_per_answer["optimized"]["calls"] == 1.0


def test_a_recipe_is_an_incumbent_like_another(place):
    first = place.optimize(place.request("knn_few_shot", output="shared.json"))
    before = (place.root / "shared.json").read_bytes()
    assert first.result.published == "candidate"
    second = place.optimize(place.request("labeled_few_shot", output="shared.json", trials=2))
    assert second.error is None
    assert second.result.published == "incumbent"
    assert (place.root / "shared.json").read_bytes() == before
    third = place.optimize(place.request("ensemble", output="shared.json", trials=2, rounds=1))
    assert third.result.published == "incumbent"


@pytest.mark.parametrize("name", ["knn_few_shot", "refine"])
def test_a_stopped_run_is_gone_on_with_and_ends_in_the_same_recipe(places, name):
    options = {"trials": 2, "rounds": 1, "reward": REWARD if name == "refine" else None}
    whole = places("whole").optimize(places_request(name, options), wrap=Advised)
    place = places("stopped")
    cap = int(whole.result.calls["made"] * 0.6)
    stopped = place.optimize(places_request(name, {**options, "limits": Limits(calls=cap)}), wrap=Advised)
    assert stopped.result.status == "stopped"
    assert stopped.result.calls["made"] == cap
    resumed = place.resume(stopped.result.run_id, places_request(name, options), wrap=Advised)
    assert resumed.error is None
    assert resumed.result.program_hash == whole.result.program_hash
    assert resumed.result.calls["made"] == whole.result.calls["made"]


def places_request(name, options):
    plain = {
        "program": "triage:TriageProgram",
        "metric": "triage:exact",
        "data": "tickets.json",
        "auto": None,
    }
    return OptimizationRequest(optimizer=name, output="out.json", num_threads=4, **plain, **options)


def test_a_reward_that_breaks_stops_the_run_with_its_name(place):
    done = place.optimize(place.request("best_of_n", reward="rewards:sometimes", trials=2), wrap=Varied)
    assert isinstance(done.error, MetricError)
    assert "The reward sometimes raised KeyError" in done.error.message
    assert done.result.status == "failed"
    assert not (place.root / "best_of_n.json").exists()


@pytest.mark.parametrize(
    ("optimizer", "options", "says"),
    [
        ("best_of_n", {}, "best_of_n needs a reward for the program triage:TriageProgram"),
        ("refine", {}, "refine needs a reward"),
        ("gepa", {"reward": REWARD}, "--reward says nothing to gepa"),
        ("refine", {"reward": "triage:exact"}, r"does not take \(args, pred\)"),
        ("best_of_n", {"reward": "triage:nothing"}, "has no 'nothing'"),
        ("best_of_n", {"reward": REWARD, "modules": ("triage",)}, "--module says nothing to best_of_n"),
    ],
    ids=["none", "none to refine", "not asked for", "a metric", "not there", "one module"],
)
def test_what_is_wrong_with_a_reward_is_said_before_anything_is_spent(place, optimizer, options, says):
    with pytest.raises(UsageError, match=says):
        make_plan(place.request(optimizer, **options), place.loaded)


def test_the_skill_program_has_a_reward_of_its_own(place):
    request = OptimizationRequest(optimizer="best_of_n")
    assert make_plan(request, place.loaded).reward == SKILL_REWARD
    assert make_plan(OptimizationRequest(), place.loaded).reward is None


def test_a_reward_is_part_of_what_decides_a_run_and_of_its_request(place):
    request = place.request("best_of_n", reward=REWARD)
    plan = make_plan(request, place.loaded)
    assert (
        plan.identity["reward"]
        != make_plan(place.request("best_of_n", reward="rewards:sometimes"), place.loaded).identity["reward"]
    )
    assert "reward" not in make_plan(place.request("gepa"), place.loaded).identity
    value = json.loads(json.dumps(request.to_json()))
    assert OptimizationRequest.from_json(value) == request
    del value["reward"]
    assert OptimizationRequest.from_json(value).reward is None, "a run of an earlier version"


def test_the_sealed_test_is_held_for_at_the_price_of_the_result(places):
    warned = {}
    for name in ("bootstrap_random_search", "ensemble"):
        place = places(name)
        done = place.optimize(place.request(name, trials=3, rounds=1, limits=Limits(calls=600)))
        warned[name] = "test_not_reserved" in [warning["code"] for warning in done.result.warnings]
    assert warned == {"bootstrap_random_search": False, "ensemble": True}
