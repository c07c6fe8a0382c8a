"""Four phases, four models: the ledger shows that each phase's calls went to that phase's model."""

import contextlib
import sqlite3
import zlib
from collections import Counter

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import MetricError
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization import BootstrapFewShotWithRandomSearch
from skill_fleet.optimization.estimates.estimate import estimate
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.registry import builtin_optimizers, find_optimizer
from skill_fleet.services.context import open_context
from skill_fleet.services.measuring import Measuring, evaluate_program

MODELS = {
    "profiling": "offline/rules-v1-s1",
    "optimization": "offline/rules-v1-s2",
    "evaluation": "offline/rules-v1-s3",
    "judge": "offline/rules-v1-s4",
}
NAMES = tuple(
    {
        tuple(sorted(kind().info.capabilities.phases)): name for name, kind in builtin_optimizers().items()
    }.values()
)
"""One optimizer of each set of phases; that each asks the models of its own is a promise of conformance."""
TRIALS = {"gepa": 3, "miprov2": 4, "copro": 1}


def asked(place):
    """Attempts in the ledger by phase and model."""
    with contextlib.closing(sqlite3.connect(place.loaded.workspace.ledger)) as db:
        rows = db.execute("select phase, model, count(*) from attempt group by 1, 2").fetchall()
    return Counter({(phase, model): count for phase, model, count in rows})


def request(place, name, **options):
    own = {"metric": "judging:judged", "models": MODELS, "trials": TRIALS.get(name, 2), "rounds": 1}
    if any(parameter.name == "reward" for parameter in find_optimizer(name).info.parameters):
        own["reward"] = "triage:plausible"
    return place.request(name, **{**own, **options})


class Judge:
    """The model of the judge's phase with something between; the other phases' models as they are."""

    def __init__(self, inner, disturb):
        self.inner = inner
        self.disturb = disturb

    def complete(self, asked):
        if current_call().phase == "judge":
            self.disturb()
        return self.inner.complete(asked)

    async def acomplete(self, asked):
        return self.complete(asked)


@pytest.mark.parametrize("name", NAMES)
def test_each_phase_asks_its_own_model_and_the_metric_asks_the_judge(place, name):
    done = place.optimize(request(place, name)).result
    assert done.status == "succeeded"
    counts = asked(place)
    assert all(MODELS[phase] == model for phase, model in counts)
    declared = set(find_optimizer(name).info.capabilities.phases)
    assert {phase for phase, _ in counts} == declared | {"evaluation", "judge"}
    by_phase = Counter()
    for (phase, _), count in counts.items():
        by_phase[phase] += count
    assert done.calls["by_phase"] == dict(by_phase)


def test_what_the_judge_is_asked_is_no_part_of_what_the_program_did(places):
    """The judge's calls are in the middle of what DSPy records for demonstrations."""
    found = []
    for metric in ("judging:judged", "triage:exact"):
        place = places(metric.partition(":")[0])
        made = request(place, "bootstrap_random_search", metric=metric, models={})
        run = place.optimize(made).result
        found.append((run.baseline, run.optimized, run.verdict))
        assert run.optimized["validation"] > run.baseline["validation"]
    assert found[0] == found[1]


def test_a_judge_that_fails_ends_the_run_and_is_no_score(places):
    whole = places("whole")
    asking = request(whole, "bootstrap_random_search", num_threads=1)
    done = whole.optimize(asking).result
    place, count = places("failing"), [0]

    def disturb():
        count[0] += 1
        if count[0] > 90:  # after the baseline, in the search
            raise LMAuthError("The key was refused.")

    stopped = place.optimize(asking, wrap=lambda inner: Judge(inner, disturb)).result
    assert (stopped.status, stopped.stop_reason) == ("stopped", "provider")
    assert stopped.optimized["test"] is None
    assert stopped.published is None
    resumed = place.resume(stopped.run_id, asking).result
    assert (resumed.status, resumed.verdict) == ("succeeded", done.verdict)
    assert resumed.optimized == done.optimized
    spent = {name: resumed.calls["by_phase"][name] for name in done.calls["by_phase"]}
    assert sum(spent.values()) - resumed.calls["failed"] == done.calls["made"], "nothing is paid for twice"


def test_an_evaluation_books_its_judge_too(place):
    context = open_context(place.root)
    how = Measuring(data="tickets.json", metric="judging:judged", judge=MODELS["judge"])
    found = evaluate_program(context, "triage:TriageProgram", how)
    counts = asked(place)
    assert counts.keys() == {("evaluation", "offline/rules-v1"), ("judge", MODELS["judge"])}
    assert counts["judge", MODELS["judge"]] >= 128
    assert found["calls"]["made"] == counts.total()
    plain = Measuring(data="tickets.json", metric="triage:exact")
    again = evaluate_program(context, "triage:TriageProgram", plain)
    assert again["mean"] == found["mean"]
    assert again["calls"]["made"] == 0


REMARK = dspy.Predict("question, answer -> remark")


def remarked(gold, pred, trace=None):
    """Something of the answer alone; the judge is asked all the same."""
    REMARK(question=gold.question, answer=pred.answer)
    return zlib.crc32(pred.answer.encode()) % 100 / 100


@pytest.mark.parametrize("calls", [60, None])
def test_the_documented_classes_book_the_judge_and_the_teacher_as_such(rig, calls):
    target = rig()
    teacher = rig(ScriptedModel(), spec=ModelSpec(model="offline/teacher", temperature=0.7), line=target.line)
    examples = [{"question": f"What is {number}?"} for number in range(12)]
    compiling = BootstrapFewShotWithRandomSearch(
        remarked,
        num_trials=2,
        teacher_settings={"lm": teacher.lm},
        budget=None if calls is None else {"calls": calls},
    )
    reached = contextlib.nullcontext() if calls is None else pytest.warns(UserWarning, match="is reached")
    with dspy.context(lm=target.lm), reached:
        compiling.compile(dspy.Predict("question -> answer"), trainset=examples[:6], valset=examples[6:])
    spent = target.spent
    assert spent.by_phase.keys() == {"evaluation", "profiling", "judge"}
    assert spent.by_phase["profiling"] == teacher.model.attempts > 0
    assert spent.calls == (calls or spent.calls)


@pytest.mark.parametrize("name", ["bootstrap_random_search", "gepa"])
def test_the_price_of_the_judge_is_estimated_with_its_own_model(place, name):
    asking = request(place, name)
    told = estimate(make_plan(asking, place.loaded))["by_phase"]["judge"]
    made = place.optimize(asking).result.calls["by_phase"]["judge"]
    assert told["model"] == MODELS["judge"]
    assert told["calls"][0] <= made <= told["calls"][1]
    assert made <= told["most"]
    plain = request(place, name, metric="triage:exact")
    assert "judge" not in estimate(make_plan(plain, place.loaded))["by_phase"]


def test_neither_an_estimate_nor_a_run_lets_a_metric_bring_a_model(place):
    asking = place.request(metric="judging:with_its_own")
    with pytest.raises(MetricError, match=r"with_its_own calls a model of its own \(openai/gpt-own\)"):
        estimate(make_plan(asking, place.loaded))
    finished = place.optimize(asking)
    assert finished.result.status == "failed"
    assert isinstance(finished.error, MetricError)
    assert finished.result.calls["made"] <= 1
    context = open_context(place.root)
    how = Measuring(data="tickets.json", metric="judging:with_its_own")
    with pytest.raises(MetricError, match="a model of its own"):
        evaluate_program(context, "triage:TriageProgram", how)
