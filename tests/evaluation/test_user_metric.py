import math

import dspy
import numpy as np
import pytest
from dspy.utils.exceptions import LMTimeoutError

from skill_fleet.evaluation.score import Metric, NoScore, Score
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.errors import MetricError, ProviderError, UsageError
from skill_fleet.llm.halt import Halt

GOLD = dspy.Example(question="2+2?", answer="4").with_inputs("question")
PRED = dspy.Prediction(answer="4")


def returning(value):
    def fixed(gold, pred):
        return value

    return adapt_metric(fixed)


@pytest.mark.parametrize(
    ("returned", "value"),
    [
        (0.25, 0.25),
        (1, 1.0),
        (True, 1.0),
        (False, 0.0),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (1.0000000000000002, 1.0),
        (dspy.Prediction(score=0.4), 0.4),
        (dspy.Prediction(score=True, feedback="Good."), 1.0),
        ({"score": 0.4, "feedback": None}, 0.4),
    ],
)
def test_numbers_bools_and_scores_with_words_are_read(returned, value):
    assert returning(returned).score(GOLD, PRED).value == pytest.approx(value)
    assert returning(returned).metric(GOLD, PRED) == pytest.approx(value)


@pytest.mark.parametrize(
    "returned",
    [
        None,
        math.nan,
        math.inf,
        45.0,
        -0.1,
        1.5,
        "0.5",
        dspy.Prediction(answer="no score"),
        {"feedback": "only words"},
        np.array([0.1, 0.2]),
        1j,
    ],
)
def test_what_is_no_score_is_an_error_that_names_the_function(returned):
    metric = returning(returned)
    with pytest.raises(MetricError, match="fixed"):
        metric.score(GOLD, PRED)


def test_inside_a_search_a_broken_metric_stops_the_run():
    def broken(gold, pred, trace=None):
        return pred.no_such_field

    metric = adapt_metric(broken)
    with pytest.raises(MetricError, match="broken raised AttributeError"):
        metric.score(GOLD, PRED)
    for call in (lambda: metric.metric(GOLD, PRED), lambda: metric.feedback(GOLD, PRED, None, "p", None)):
        with pytest.raises(Halt) as halted:
            call()
        assert halted.value.cause == "metric"
        assert isinstance(halted.value.error, MetricError)


def test_dspy_does_not_turn_a_broken_metric_into_a_score():
    def broken(gold, pred, trace=None):
        raise KeyError("oops")

    class Answer(dspy.Module):
        def forward(self, question):
            return PRED

    evaluate = dspy.Evaluate(
        devset=[GOLD] * 4, num_threads=2, display_progress=False, provide_traceback=False
    )
    with pytest.raises(Halt):
        evaluate(Answer(), metric=adapt_metric(broken).metric)


@pytest.mark.parametrize("error", [LMTimeoutError("no answer"), ProviderError("The key was refused.")])
def test_a_judge_whose_model_fails_is_not_a_broken_metric(error):
    def judge(gold, pred):
        raise error

    with pytest.raises(type(error)):
        adapt_metric(judge).score(GOLD, PRED)


def two(gold, pred):
    return 0.5


def two_and_own_option(gold, pred, threshold=0.7, weight=2.0):
    assert (threshold, weight) == (0.7, 2.0)
    return 0.5


def three(gold, pred, trace=None):
    return 0.5 if trace is None else True


def three_of_its_own_words(example, prediction, _t):
    return 0.5


def three_and_own_option(gold, pred, trace=None, threshold=0.7):
    assert threshold == 0.7
    return 0.5


def five(gold, pred, trace=None, pred_name=None, pred_trace=None):
    return dspy.Prediction(score=0.5, feedback=f"for {pred_name}")


def anything(*arguments):
    assert len(arguments) == 5
    return 0.5


class Judge:
    def __call__(self, gold, pred, trace=None):
        return 0.5


class Module(dspy.Module):
    def forward(self, gold, pred, trace=None):
        return 0.5


@pytest.mark.parametrize(
    ("function", "arity"),
    [
        (two, 2),
        (two_and_own_option, 2),
        (three, 3),
        (three_of_its_own_words, 3),
        (three_and_own_option, 3),
        (five, 5),
        (anything, 5),
        (Judge(), 3),
        (Module(), 3),
        (lambda g, p: 0.5, 2),
    ],
)
def test_accepted_forms(function, arity):
    metric = adapt_metric(function)
    assert metric.arity == arity
    assert metric.score(GOLD, PRED).value == 0.5
    assert metric.metric(GOLD, PRED, trace=None) == 0.5
    assert metric.feedback(GOLD, PRED, None, "write", []).score == 0.5
    assert isinstance(metric, Metric)


def one(pred):
    return 1.0


def four(gold, pred, trace, pred_name):
    return 1.0


def six(gold, pred, trace, pred_name, pred_trace, extra):
    return 1.0


def keyword(gold, pred, *, judge):
    return 1.0


async def awaited(gold, pred):
    return 1.0


class AwaitedJudge:
    async def __call__(self, gold, pred):
        return 1.0


@pytest.mark.parametrize("function", [one, four, six, keyword, awaited, AwaitedJudge(), "module:name", None])
def test_other_forms_are_refused_before_anything_is_spent(function):
    with pytest.raises(UsageError) as refused:
        adapt_metric(function)
    assert refused.value.exit_code == 2
    named = getattr(function, "__name__", None)
    assert named is None or named in refused.value.message


def test_feedback_reaches_the_predictor_it_is_for():
    metric = adapt_metric(five)
    assert metric.metric(GOLD, PRED) == 0.5
    named = metric.metric(GOLD, PRED, [], "plan.predict", [])
    assert (named.score, named.feedback) == (0.5, "for plan.predict")
    assert (
        adapt_metric(two).feedback(GOLD, PRED, None, "plan", None).feedback
        == "This prediction scored 0.50 of 1."
    )
    assert adapt_metric(three).metric(GOLD, PRED, trace=[]) == 1.0


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_a_score_outside_the_scale_cannot_be_made(value):
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        Score(value)
    with pytest.raises(ValueError, match="trigger"):
        Score(0.5, {"trigger": value})


def test_no_score_is_not_a_number():
    with pytest.raises(TypeError):
        float(NoScore("provider", "timeout"))
