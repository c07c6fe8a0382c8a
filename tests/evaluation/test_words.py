"""Whether a metric gives words, read from its code and never by calling it."""

import dspy
import pytest

from skill_fleet.evaluation.metric import SkillQuality
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.evaluation.words import gives_words


def number(gold, pred):
    """No feedback here."""
    raise AssertionError("it is never called")


def five(gold, pred, trace=None, pred_name=None, pred_trace=None):
    raise AssertionError("it is never called")


def keyword(gold, pred):
    return dspy.Prediction(score=1.0, feedback="Good.")


def mapping(gold, pred, trace=None):
    return {"score": 0.0, "feedback": "Bad."}


def inner(gold, pred):
    def told():
        return {"score": 0.0, "feedback": "Bad."}

    return told()


class Judge(dspy.Module):
    def forward(self, gold, pred):
        return dspy.Prediction(score=1.0, feedback="Good.")


class Counter:
    def __call__(self, gold, pred):
        return {"score": 1.0, "feedback": "Good."}

    def count(self, gold, pred):
        return 1.0


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (number, False),
        (five, True),
        (keyword, True),
        (mapping, True),
        (inner, True),
        (Judge(), True),
        (Counter(), True),
        (Counter().count, False),
        (lambda gold, pred: 1.0, False),
    ],
)
def test_words_are_seen_in_the_code(metric, words):
    assert gives_words(adapt_metric(metric)) is words


def test_the_quality_of_a_skill_is_told_in_words():
    assert gives_words(SkillQuality())
