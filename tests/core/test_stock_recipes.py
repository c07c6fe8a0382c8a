"""What stock DSPy does that recipes do otherwise: the reasons for them, pinned."""

import dspy
import numpy as np
import pytest

from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel

EXAMPLES = [
    dspy.Example(question=question, answer=question.upper()).with_inputs("question")
    for question in ("one apple", "two pears", "three plums")
]


def letters(texts):
    return np.array([[text.count(letter) for letter in "abcdefghij"] for text in texts], dtype=float)


def test_knn_bootstraps_at_every_call(rig):
    model = rig(ScriptedModel())
    compiled = dspy.KNNFewShot(2, EXAMPLES, vectorizer=letters).compile(dspy.Predict("question -> answer"))
    with dspy.context(lm=model.lm):
        compiled(question="four figs")
    assert model.model.attempts > 1


def test_an_ensemble_hides_the_predictors_of_compiled_members():
    members = [dspy.Predict("question -> answer"), dspy.ChainOfThought("question -> answer")]
    compiled = dspy.LabeledFewShot(k=1).compile(members[1], trainset=EXAMPLES)
    compiled._compiled = True
    ensemble = dspy.Ensemble(reduce_fn=dspy.majority).compile([members[0], compiled])
    assert len(ensemble.named_predictors()) == 1


def test_an_ensemble_cannot_vote_on_what_is_no_text():
    with pytest.raises(TypeError):
        dspy.majority([dspy.Prediction(answer=["a"]), dspy.Prediction(answer=["a"])])


@pytest.mark.parametrize("kind", [dspy.BestOfN, dspy.Refine])
def test_where_all_attempts_fail_there_is_no_answer_and_no_error(rig, kind, capsys):
    def fault(number, request):
        raise dspy.ContextWindowExceededError(model="scripted")

    model = rig(ScriptedModel(fault=fault), on_failure="raise")
    lm = model.lm.copy(rollout_id=0, temperature=1.0)
    module = kind(dspy.Predict("question -> answer"), N=2, reward_fn=reward, threshold=1.0)
    with dspy.context(lm=lm, trace=[]):
        assert module(question="q") is None, "a failure of the provider becomes a prediction of nothing"
    assert "failed with rollout id" in capsys.readouterr().out, "and goes to stdout"


@pytest.mark.parametrize("kind", [dspy.BestOfN, dspy.Refine])
def test_failures_are_counted_over_all_inputs(rig, kind):
    def fault(number, request):
        if current_call().rollout == 0:
            raise dspy.ContextWindowExceededError(model="scripted")

    model = rig(ScriptedModel(fault=fault), on_failure="raise")
    module = kind(dspy.Predict("question -> answer"), N=2, reward_fn=reward, threshold=0.0)
    allowed = module.fail_count
    with dspy.context(lm=model.lm.copy(rollout_id=0, temperature=1.0), trace=[]):
        module(question="q")
    assert module.fail_count == allowed - 1, "so the order of the inputs, and threads, decide"


def reward(args, pred):
    return 0.5
