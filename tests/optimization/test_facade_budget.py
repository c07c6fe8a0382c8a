"""Budgets of the documented optimizer classes: exact, refused where they could not hold, best so far kept."""

import hashlib
import json
import warnings

import dspy
import pytest

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization import GEPA, BootstrapFewShotWithRandomSearch, Evaluate, MIPROv2

OPTIMIZERS = (MIPROv2, BootstrapFewShotWithRandomSearch, GEPA)
REACHED = r"The cap of .* is reached.*\. The best program so far is returned\."


class Reply(dspy.Module):
    """One predictor, so that a run of the program is one call."""

    def __init__(self):
        super().__init__()
        self.reply = dspy.Predict("question -> answer")

    def forward(self, question):
        return self.reply(question=question)


def luck(gold, pred, trace=None):
    return int(hashlib.sha256(pred.answer.encode()).hexdigest()[:4], 16) / 0xFFFF


TRAIN = [{"question": f"What is {number}?"} for number in range(12)]
VALIDATION = [{"question": f"What is {number}?"} for number in range(100, 108)]


def compiled(kind, lm, budget, **options):
    with dspy.context(lm=lm):
        return kind(luck, budget=budget, **options).compile(Reply(), trainset=TRAIN, valset=VALIDATION)


def mean(program, lm):
    with dspy.context(lm=lm):
        return float(Evaluate(devset=VALIDATION, metric=luck)(program))


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("threads", [1, 8])
def test_a_cap_on_calls_is_exact_and_the_best_so_far_comes_back(kind, threads, rig):
    model = rig()
    with pytest.warns(UserWarning, match=REACHED):
        program = compiled(kind, model.lm, {"calls": 50}, num_threads=threads, num_trials=20)
    assert model.model.attempts == 50
    assert model.spent.calls == 50
    assert mean(program, model.lm) >= mean(Reply(), model.lm)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_round_that_was_cut_off_gives_what_it_had_found(kind, rig):
    gained = []
    for calls in (60, 90):
        model = rig(run=f"run-{calls}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            program = compiled(kind, model.lm, {"calls": calls}, num_trials=20, max_rounds=1)
        assert model.model.attempts <= calls
        gained.append(mean(program, model.lm) - mean(Reply(), model.lm))
    assert max(gained) > 0


@pytest.mark.parametrize("calls", [0, 1, 5, 9])
def test_a_cap_met_in_the_baseline_gives_the_program_back_as_it_was(calls, rig):
    model = rig()
    student = Reply()
    with dspy.context(lm=model.lm), pytest.warns(UserWarning, match=REACHED):
        program = MIPROv2(luck, budget={"calls": calls}).compile(student, trainset=TRAIN, valset=VALIDATION)
    assert model.model.attempts == calls
    assert program is not student
    assert clean_state(program) == clean_state(student)


def test_answers_in_the_journal_cost_nothing_of_a_budget(rig):
    model = rig()
    free = compiled(MIPROv2, model.lm, None, num_trials=4, seed=5)
    made = model.model.attempts
    assert made > 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        capped = compiled(MIPROv2, model.lm, Limits(calls=0), num_trials=4, seed=5)
    assert clean_state(capped) == clean_state(free)
    assert model.model.attempts == made


def test_a_cap_on_dollars_is_never_overrun(rig):
    priced = ModelSpec(
        model="openai/scripted",
        temperature=0.7,
        max_tokens=100,
        price=PriceOverride(input_per_million=100.0, output_per_million=100.0),
    )
    model = rig(spec=priced)
    with pytest.warns(UserWarning, match=REACHED):
        compiled(MIPROv2, model.lm, {"usd": 1.0}, num_trials=20)
    assert 0.5 < model.spent.usd <= 1.0


def test_a_cap_on_tokens_is_never_overrun(rig):
    model = rig(spec=ModelSpec(model="openai/scripted", temperature=0.7, max_tokens=100, price=None))
    with pytest.warns(UserWarning, match=REACHED):
        compiled(MIPROv2, model.lm, {"tokens": 20_000}, num_trials=20)
    assert 10_000 < model.spent.input_tokens + model.spent.output_tokens <= 20_000


def test_one_budget_counts_all_models(rig):
    target = rig()
    teacher = rig(ScriptedModel(), spec=ModelSpec(model="offline/teacher", temperature=0.7), line=target.line)
    with pytest.warns(UserWarning, match=REACHED):
        compiled(
            BootstrapFewShotWithRandomSearch,
            target.lm,
            {"calls": 60},
            num_trials=20,
            teacher_settings={"lm": teacher.lm},
        )
    assert teacher.model.attempts > 0
    assert target.model.attempts + teacher.model.attempts == 60
    assert target.spent.by_phase["profiling"] == teacher.model.attempts


@pytest.mark.parametrize(
    ("budget", "error", "says"),
    [
        ({"call": 5}, UnknownName, "call"),
        ({"calls": -1}, UsageError, "-1"),
        ({"calls": "many"}, UsageError, "many"),
        ({"usd": float("nan")}, UsageError, "nan"),
        ({"calls": True}, UsageError, "True"),
    ],
    ids=["unknown", "negative", "text", "nan", "bool"],
)
def test_a_budget_that_says_nothing_clear_is_refused_at_once(budget, error, says):
    with pytest.raises(error, match=says):
        MIPROv2(luck, budget=budget)


@pytest.mark.parametrize(
    ("spec", "budget", "says"),
    [
        (ModelSpec(model="nobody/knows", max_tokens=100), {"usd": 1.0}, "price of nobody/knows is unknown"),
        (ModelSpec(model="openai/gpt-4o-mini"), {"usd": 1.0}, "needs max_tokens"),
        (ModelSpec(model="nobody/knows"), {"tokens": 1000}, "needs max_tokens"),
    ],
    ids=["price", "dollars", "tokens"],
)
def test_a_budget_that_could_not_hold_is_refused_before_any_call(rig, spec, budget, says):
    model = rig(spec=spec)
    with pytest.raises(UsageError, match=says):
        compiled(MIPROv2, model.lm, budget)
    assert model.model.attempts == 0


@pytest.mark.parametrize("which", ["target", "teacher", "prompt"])
def test_a_budget_needs_a_metered_model_everywhere(rig, which):
    script = ScriptedModel()
    plain = dspy.LM("openai/scripted", engine=script, cache=False)
    options = {
        "target": {},
        "teacher": {"teacher_settings": {"lm": plain}},
        "prompt": {"prompt_model": plain},
    }[which]
    with pytest.raises(UsageError, match="configure_dspy"):
        compiled(MIPROv2, plain if which == "target" else rig().lm, {"calls": 50}, **options)
    assert script.attempts == 0


def test_the_cap_of_the_model_itself_ends_the_search_the_same_way(rig):
    model = rig(limits=Limits(calls=30))
    with pytest.warns(UserWarning, match=REACHED):
        program = compiled(MIPROv2, model.lm, None)
    assert model.model.attempts == 30
    json.dumps(clean_state(program))
