"""A metric that may ask a language model: whatever it calls goes to the model of the phase `judge`.

A metric runs wherever an optimizer scores an answer, often while DSPy records what the program did, and with
the program's model as default. Inside a `Judged` metric the default is the judge, so that its calls are
booked, capped, journaled and replayed as the judge's; and nothing it calls is recorded as the program's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import dspy
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.evaluation.score import Metric, Score
from skill_fleet.foundation.errors import MetricError
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.only_journaled import OnlyJournaled

Returned = TypeVar("Returned")
_ATTEMPTS = 3


@dataclass(frozen=True)
class Judged:
    """A `Metric` around another, with a model for it.

    A judge's answer that cannot be read is asked for again, as another rollout; after three the metric is
    broken, as by an exception of its own. A call that fails is missing data or a `Halt`, never a score.

    Args:
        inner: The metric.
        judge: The model of the phase `judge` of this stage.
        own_models: Whether the metric may call a model of its own, which no journal sees and no cap holds.
    """

    inner: Metric
    judge: Any
    own_models: bool = False

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.inner.name

    def score(self, gold: Any, pred: Any) -> Score:
        """As the metric's.

        Raises:
            MetricError: The metric broke, or the judge's answer could not be read.
        """
        return self._asked(lambda: self.inner.score(gold, pred))

    def metric(
        self, gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
    ) -> Any:
        """As the metric's.

        Raises:
            Halt: The metric broke, or the judge could not be asked or read.
        """
        return self._asked(lambda: self.inner.metric(gold, pred, trace, pred_name, pred_trace))

    def feedback(self, gold: Any, pred: Any, trace: Any, pred_name: str | None, pred_trace: Any) -> Any:
        """As the metric's.

        Raises:
            Halt: As for `metric`.
        """
        return self._asked(lambda: self.inner.feedback(gold, pred, trace, pred_name, pred_trace))

    def _asked(self, score: Callable[[], Returned]) -> Returned:
        for number in range(_ATTEMPTS - 1):
            try:
                return self._with(number, score)
            except (MetricError, Halt) as error:
                if not _unreadable(error):
                    raise
        return self._with(_ATTEMPTS - 1, score)

    def _with(self, number: int, score: Callable[[], Returned]) -> Returned:
        guard = [] if self.own_models else [OnlyJournaled(self.judge, "metric", self._refused)]
        callbacks = [*(dspy.settings.callbacks or ()), *guard]
        # A trace of its own: what is recorded around the metric becomes the program's demonstrations.
        with dspy.context(lm=_again(self.judge, number), trace=[], caller_modules=[], callbacks=callbacks):
            return score()

    def _refused(self, model: str) -> MetricError:
        return MetricError(
            f"The metric {self.name} calls a model of its own ({model}): no cap holds.",
            hint="Let it use DSPy's default model: inside a metric that is the judge, --judge-model.",
        )


def _again(judge: Any, number: int) -> Any:
    """The judge, for another attempt as another rollout: at temperature 0 all rollouts would be alike."""
    if number == 0:
        return judge
    warmer = {"temperature": 1.0} if judge.kwargs.get("temperature") == 0 else {}
    return judge.copy(rollout_id=number, **warmer)


def _unreadable(error: BaseException) -> bool:
    """Whether all that was wrong is the form of a model's answer."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, AdapterParseError):
            return True
        link = link.__cause__
    return False
