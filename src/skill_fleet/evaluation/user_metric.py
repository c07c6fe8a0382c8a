"""People's own metrics: a function of theirs, made to fit, and stopped where it breaks.

DSPy reads an exception of a metric as a score of 0, a None as 0 or as an error of its own, and a score of 45
as 45 times perfect. Here each of these is an error that names the function.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from skill_fleet.evaluation.score import Score
from skill_fleet.foundation.errors import MetricError, ProviderError, UsageError
from skill_fleet.llm.halt import Halt

OPTIONAL = ("trace", "pred_name", "pred_trace")
FORMS = "(gold, pred), (gold, pred, trace) or (gold, pred, trace, pred_name, pred_trace)"
_ROUNDING = 1e-9


@dataclass(frozen=True)
class UserMetric:
    """A `Metric` around a function.

    Args:
        function: Returns a number in [0, 1], a bool, or `dspy.Prediction(score, feedback)` or such a mapping.
        name: How messages and reports call it.
        arity: How many of (gold, pred, trace, pred_name, pred_trace) it takes: 2, 3 or 5.
    """

    function: Callable[..., Any]
    name: str
    arity: int

    def score(self, gold: Any, pred: Any) -> Score:
        """The function's score; its feedback where it gives some.

        Raises:
            MetricError: The function raised, or returned something that is no score in [0, 1].
        """
        return self._call(gold, pred, None, None, None)

    def metric(
        self, gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
    ) -> Any:
        """DSPy's metric: the number, or for a named predictor what `feedback` returns.

        Raises:
            Halt: The function broke: inside a search an exception would be read as 0.
        """
        if pred_name is not None:
            return self.feedback(gold, pred, trace, pred_name, pred_trace)
        return self._searched(gold, pred, trace, None, pred_trace).value

    def feedback(self, gold: Any, pred: Any, trace: Any, pred_name: str | None, pred_trace: Any) -> Any:
        """GEPA's metric. A function that gives no words gives a reflecting model nothing to learn from.

        Raises:
            Halt: The function broke.
        """
        score = self._searched(gold, pred, trace, pred_name, pred_trace)
        words = score.feedback or f"This prediction scored {score.value:.2f} of 1."
        return dspy.Prediction(score=score.value, feedback=words)

    def _searched(self, *arguments: Any) -> Score:
        try:
            return self._call(*arguments)
        except MetricError as error:
            raise Halt("metric", error) from error

    def _call(self, *arguments: Any) -> Score:
        try:
            result = self.function(*arguments[: self.arity])
        except (LMError, ProviderError):
            raise  # a judge's model that does not answer is missing data, not a broken metric
        except (Halt, KeyboardInterrupt):
            raise
        except BaseException as error:  # a SystemExit too: a metric does not end the process
            raise MetricError(
                f"The metric {self.name} raised {type(error).__name__}: {in_short(error)}.",
                hint="A metric must return a number in [0, 1] for any prediction, also for an empty one.",
            ) from error
        return self._read(result)

    def _read(self, result: Any) -> Score:
        words = ""
        number = result
        if isinstance(result, (dspy.Example, Mapping)):
            number, words = result.get("score"), str(result.get("feedback") or "")
        if not isinstance(number, numbers.Real) and getattr(number, "ndim", None) == 0:
            number = number.item()  # numpy's bool
        if not isinstance(number, numbers.Real):
            raise self._unfit(f"{result!r}" if number is result else f"a score of {number!r}")
        value = float(number)
        if not math.isfinite(value) or not -_ROUNDING <= value <= 1.0 + _ROUNDING:
            raise self._unfit(repr(value))
        return Score(min(1.0, max(0.0, value)), feedback=words)

    def _unfit(self, what: str) -> MetricError:
        return MetricError(
            f"The metric {self.name} returned {what[:200]}, which is no number in [0, 1].",
            hint="Return a number, a bool or dspy.Prediction(score=…, feedback=…); no percentages.",
        )


def in_short(error: BaseException, limit: int = 300) -> str:
    """What an exception says, on one line that can be read."""
    said = " ".join(str(error).split())
    return said if len(said) <= limit else f"{said[: limit - 1]}…"


def adapt_metric(function: Any) -> UserMetric:
    """A function as a `Metric`.

    An optional parameter is given DSPy's value only where it has DSPy's name (`trace`, `pred_name`,
    `pred_trace`) or the function takes any number of arguments; others keep their defaults.

    Raises:
        UsageError: It is no function that can be called as `(gold, pred[, trace[, pred_name, pred_trace]])`.
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    if not callable(function):
        raise UsageError(f"The metric {function!r} is no function.", hint=f"Give a function of {FORMS}.")
    body = function.forward if isinstance(function, dspy.Module) else function
    if inspect.iscoroutinefunction(body) or inspect.iscoroutinefunction(getattr(body, "__call__", None)):  # noqa: B004
        raise UsageError(
            f"The metric {name} is a coroutine function; a metric must return its score directly."
        )
    try:
        signature = inspect.signature(body)
    except (TypeError, ValueError):
        raise UsageError(f"The metric {name} does not say what it takes; wrap it in {FORMS}.") from None
    arity = next((number for number in (5, 3, 2) if _takes(signature, number)), None)
    if arity is None:
        raise UsageError(f"The metric {name}{signature} does not take {FORMS}.")
    return UserMetric(function, name, arity)


def _takes(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*[None] * number)
    except TypeError:
        return False
    positional = [
        p for p in signature.parameters.values() if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}
    ]
    return all(
        parameter.default is parameter.empty or parameter.name == dspy_name
        for parameter, dspy_name in zip(positional[2:number], OPTIONAL, strict=False)
    )
