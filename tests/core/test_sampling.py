"""`BestOfN` by rollouts of a known model."""

import re
import warnings

import dspy
import pytest

from skill_fleet.core.dspy.sampling import BestOfN
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.foundation.errors import UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.testing import ScriptedModel

QUALITY = {0: 0.2, 1: 0.9, 2: 0.5, 3: 0.9}


def by_rollout(request):
    return f"[[ ## answer ## ]]\ncandidate {current_call().rollout}\n\n[[ ## completed ## ]]"


def number_of(prediction):
    return int(re.findall(r"\d+", prediction.answer)[0])


def quality(prediction, trace):
    return QUALITY[number_of(prediction)]


@pytest.fixture
def model(rig):
    return rig(ScriptedModel(answer=by_rollout))


def best(model, n=3, reward_fn=quality, **options):
    with dspy.context(lm=model.lm):
        return BestOfN(dspy.Predict("question -> answer"), n, reward_fn, **options)(question="q")


def test_the_best_of_n_is_returned_and_of_equals_the_first(model):
    assert best(model).answer == "candidate 1"
    assert model.model.attempts == 3
    assert best(model, n=4).answer == "candidate 1"
    assert best(model, n=1).answer == "candidate 0"


def test_n_is_three_and_may_be_spelt_as_dspy_does(model):
    with dspy.context(lm=model.lm):
        predict = dspy.Predict("question -> answer")
        assert BestOfN(predict, reward_fn=quality).n == 3
        assert BestOfN(predict, N=2, reward_fn=quality).n == 2


@pytest.mark.parametrize(
    "reward",
    [
        lambda prediction, trace: QUALITY[number_of(prediction)],
        lambda prediction, trace=None: QUALITY[number_of(prediction)],
        lambda prediction: QUALITY[number_of(prediction)],
        lambda args, prediction: QUALITY[number_of(prediction)] * (args == {"question": "q"}),
        lambda prediction, trace: number_of(prediction) == 1,
    ],
    ids=["documented", "optional trace", "prediction", "as dspy", "bool"],
)
def test_every_form_of_reward(model, reward):
    assert best(model, reward_fn=reward).answer == "candidate 1"


def test_the_reward_sees_the_trace_and_the_best_trace_goes_on(model):
    seen = []

    def reward(prediction, trace):
        seen.append([step[2].answer for step in trace])
        return QUALITY[number_of(prediction)]

    with dspy.context(lm=model.lm, trace=[]):
        BestOfN(dspy.Predict("question -> answer"), 3, reward)(question="q")
        kept = [step[2].answer for step in dspy.settings.trace]
    assert seen == [["candidate 0"], ["candidate 1"], ["candidate 2"]]
    assert kept == ["candidate 1"]


def test_a_threshold_spares_candidates(model):
    assert best(model, threshold=0.15).answer == "candidate 0"
    assert model.model.attempts == 1


def test_it_is_a_module_that_saves_and_whose_model_is_untouched(model, tmp_path):
    before = dict(model.lm.kwargs)
    module = BestOfN(dspy.Predict("question -> answer"), 3, quality)
    with dspy.context(lm=model.lm):
        module(question="q")
    assert model.lm.kwargs == before
    assert module.module.lm is None
    assert [name for name, _ in module.named_predictors()] == ["module"]
    module.save(str(tmp_path / "best.json"))
    module.load(str(tmp_path / "best.json"))


def test_rollouts_start_from_the_callers_own(model):
    with dspy.context(lm=model.lm.copy(rollout_id=2, temperature=1.0)):
        module = BestOfN(dspy.Predict("question -> answer"), 2, quality)
        assert module(question="q").answer == "candidate 3"


def test_a_candidate_that_fails_is_left_out(rig, capsys):
    def fault(number, request):
        if current_call().rollout == 1:
            raise dspy.ContextWindowExceededError(model="scripted")

    model = rig(ScriptedModel(answer=by_rollout, fault=fault), on_failure="raise")
    for _ in range(3):  # and it stays so: a failure is not remembered
        assert best(model).answer == "candidate 2"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("n", [1, 3])
def test_where_all_fail_the_error_is_raised(rig, n):
    def fault(number, request):
        raise dspy.ContextWindowExceededError(model="scripted")

    with pytest.raises(dspy.ContextWindowExceededError):
        best(rig(ScriptedModel(fault=fault), on_failure="raise"), n=n)


def test_a_budget_stops_it(rig):
    model = rig(ScriptedModel(answer=by_rollout), limits=Limits(calls=2))
    with pytest.raises(Halt):
        best(model)
    assert model.model.attempts == 2


@pytest.mark.parametrize("result", [None, float("nan"), "good"], ids=str)
def test_a_reward_that_is_no_number_is_an_error(model, result):
    with pytest.raises(UsageError, match="reward_fn"):
        best(model, reward_fn=lambda prediction, trace: result)


def test_a_reward_that_breaks_is_not_swallowed(model):
    def broken(prediction, trace):
        raise KeyError("skill_content")

    with pytest.raises(KeyError, match="skill_content"):
        best(model, reward_fn=broken)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n": 0, "reward_fn": quality}, "at least one candidate"),
        ({}, "needs a reward_fn"),
        ({"reward_fn": lambda: 1.0}, "takes no positional argument"),
    ],
    ids=["none", "no reward", "no argument"],
)
def test_what_cannot_work_is_refused_at_once(options, says):
    with pytest.raises(UsageError, match=says):
        BestOfN(dspy.Predict("question -> answer"), **options)


def test_a_program_of_several_predictors_draws_a_warning():
    with pytest.warns(UserWarning, match="program of 5 predictors"):
        BestOfN(SkillCreationProgram(), 3, quality)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BestOfN(dspy.ChainOfThought("question -> answer"), 3, quality)
