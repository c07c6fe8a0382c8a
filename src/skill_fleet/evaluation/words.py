"""Whether a metric says in words what was wrong: known without calling it, for a call may cost something."""

import types
from collections.abc import Iterator

import dspy

from skill_fleet.evaluation.score import Metric
from skill_fleet.evaluation.user_metric import UserMetric

_WORD = "feedback"


def gives_words(metric: Metric) -> bool:
    """Whether an optimizer can learn from what the metric says.

    Of a person's own function it is read from its code: it takes the predictor's name and trace (GEPA's five
    arguments), or it uses the word `feedback`. A function that only hands on what another one returns is not
    seen through; it counts as giving a number only.
    """
    if not isinstance(metric, UserMetric):
        return True
    if metric.arity == 5:
        return True
    function = metric.function
    body = function.forward if isinstance(function, dspy.Module) else function
    body = getattr(body, "__func__", body)
    code = getattr(body, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return isinstance(code, types.CodeType) and any(_WORD in name for name in _names(code))


def _names(code: types.CodeType) -> Iterator[str]:
    """Names and string constants that code uses, that of inner functions too."""
    yield from code.co_names
    yield from code.co_varnames
    for constant in code.co_consts:
        if isinstance(constant, str):
            # A docstring may well speak of feedback; a key or a keyword is the word alone.
            yield constant if constant == _WORD else ""
        elif isinstance(constant, tuple):
            yield from (name for name in constant if isinstance(name, str))
        elif isinstance(constant, types.CodeType):
            yield from _names(constant)
