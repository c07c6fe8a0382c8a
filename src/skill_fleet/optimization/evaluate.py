"""The documented `Evaluate`: a program measured, failures left out instead of counted as zeros."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import dspy

from skill_fleet.config.settings import Calls
from skill_fleet.core.dspy.examples import coerce_examples
from skill_fleet.core.programs.catalog import input_fields
from skill_fleet.domain.trainset import SKILL_INPUTS
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.errors import DataError, UsageError
from skill_fleet.llm.dspy_config import get_task_lm
from skill_fleet.llm.fleet_lm import FleetLM

_logger = logging.getLogger("dspy")


class EvaluationScore(float):
    """A score as DSPy gives it, in percent, that is also a number one can format.

    Attributes:
        results: `(example, score or None)` in the order of the examples.
        excluded: How many examples have no score.
    """

    results: list[tuple[dspy.Example, float | None]]
    excluded: int

    @property
    def score(self) -> float:
        """The number itself, as DSPy calls it."""
        return float(self)


class Evaluate:
    """Measures a program: failures are missing data, not zeros.

    Args:
        devset: Examples or plain dicts.
        metric: `(gold, pred[, trace[, pred_name, pred_trace]])`, a number in [0, 1].
        num_threads: Examples under way at a time.
        display_progress: Log every tenth of the way at INFO on the logger `dspy`.
    """

    def __init__(
        self,
        *,
        devset: Sequence[Any],
        metric: Callable[..., Any] | None = None,
        num_threads: int = 1,
        display_progress: bool = False,
    ) -> None:
        self.devset = devset
        self.metric = metric
        self.num_threads = num_threads
        self.display_progress = display_progress

    def __call__(self, program: dspy.Module, metric: Callable[..., Any] | None = None) -> EvaluationScore:
        """The mean score in percent of the examples that have one.

        Raises:
            UsageError: There is no metric.
            DataError: No example has a score.
        """
        chosen = metric or self.metric
        if chosen is None:
            raise UsageError("Evaluate needs a metric.")
        examples = examples_for(program, self.devset)
        lm = default_lm()
        found = measure(
            program,
            examples,
            adapt_metric(chosen),
            lm=lm,
            num_threads=self.num_threads,
            max_failed_share=failed_share_of(lm),
            on_outcome=_log_progress if self.display_progress else None,
        )
        if found.mean is None:
            raise DataError("No example has a score, so there is no mean.")
        score = EvaluationScore(100.0 * found.mean)
        values = found.scores()
        score.results = [
            (example, values.get(outcome.item_id))
            for example, outcome in zip(examples, found.outcomes, strict=True)
        ]
        score.excluded = len(found.excluded)
        return score


def _log_progress(done: int, total: int, _outcome: Any) -> None:
    if done == total or done % max(1, total // 10) == 0:
        _logger.info("Evaluated %d of %d examples.", done, total)


def examples_for(program: dspy.Module, values: Sequence[Any]) -> list[dspy.Example]:
    """Plain dicts or examples, with the program's inputs as theirs.

    Raises:
        DataError: A value is neither.
    """
    names = input_fields(program)
    return coerce_examples(values, SKILL_INPUTS if set(names) == set(SKILL_INPUTS) else names)


def failed_share_of(lm: Any) -> float:
    """The share of examples that may fail with a model, as configured where it is one of skill-fleet's."""
    return lm.engine.line.max_failed_share if isinstance(lm, FleetLM) else Calls().max_failed_share


def default_lm() -> Any:
    """The model that DSPy is configured with, else that of the phase `evaluation`."""
    return dspy.settings.lm or get_task_lm("evaluation")
