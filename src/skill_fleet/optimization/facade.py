"""The documented optimizer classes, for people's own code: today's DSPy underneath, with a seed and a budget.

They take plain dicts where examples are, never make an input of what is expected, and run on the model that
DSPy is configured with; where none is, on the configured model of skill-fleet. A budget and the journal
need a model from `configure_dspy` or `get_task_lm`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.core.dspy.examples import identified
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import DataError, UnknownName, UsageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import PhaseModels, check_limits
from skill_fleet.optimization.compiling import Compilation, improved, metered_lm
from skill_fleet.optimization.evaluate import Evaluate, EvaluationScore, default_lm, examples_for
from skill_fleet.optimization.registry import find_optimizer
from skill_fleet.optimization.search import Effort

__all__ = [
    "GEPA",
    "BootstrapFewShotWithRandomSearch",
    "Evaluate",
    "EvaluationScore",
    "MIPROv2",
]


class _Documented:
    """What the documented classes share."""

    _optimizer: str

    def __init__(  # noqa: PLR0913 - the documented arguments
        self,
        metric: Callable[..., Any],
        *,
        num_threads: int = 1,
        num_trials: int | None = 10,
        auto: str | None = None,
        max_labeled_demos: int = 4,
        max_bootstrapped_demos: int = 8,
        max_rounds: int = 2,
        teacher_settings: Mapping[str, Any] | None = None,
        prompt_model: Any = None,
        seed: int = 0,
        budget: Limits | Mapping[str, Any] | None = None,
    ) -> None:
        if max_rounds < 1 or num_threads < 1 or (num_trials is not None and num_trials < 1):
            raise UsageError("num_threads, num_trials and max_rounds must be at least 1.")
        self.metric = adapt_metric(metric)
        trials = None if auto is not None else num_trials
        self._effort = Effort(
            auto if trials is None else None, trials, max_bootstrapped_demos, max_labeled_demos, num_threads
        )
        self._rounds = max_rounds
        self._teacher = dict(teacher_settings or {})
        self._prompt_model = prompt_model
        self._seed = seed
        self._budget = _limits(budget)

    def compile(
        self, student: dspy.Module, *, trainset: Sequence[Any], valset: Sequence[Any] | None = None
    ) -> dspy.Module:
        """The best program found, by its mean on the validation set; the student stays as it is.

        Args:
            student: The program.
            trainset: Examples or plain dicts.
            valset: Examples to choose by; None holds half of the training set out, by the seed.

        Raises:
            DataError: There are too few examples.
            UsageError: The budget could not hold for these models.
            ProviderError: A model call failed for good.
            MetricError: The metric broke.
            ProgramError: In a search a file or a connection of the program's own broke, which is no score.
        """
        train, validation = self._parts(student, trainset, valset)
        optimizer, models = find_optimizer(self._optimizer), self._models()
        setup = Compilation(
            optimizer, self.metric, self._effort, models, self._seed, self._rounds, self._budget is not None
        )
        try:
            return improved(setup, student, train, validation)
        except Halt as halt:
            raise halt.error from halt

    def _parts(
        self, student: dspy.Module, trainset: Sequence[Any], valset: Sequence[Any] | None
    ) -> tuple[list[dspy.Example], list[dspy.Example]]:
        train = _named(examples_for(student, trainset), "train")
        if valset is not None:
            validation = _named(examples_for(student, valset), "validation")
        else:
            if len(train) < 2:
                raise DataError(
                    "A training set of one example cannot be split; give a valset or more examples."
                )
            order = list(train)
            random.Random(self._seed).shuffle(order)
            half = (len(order) + 1) // 2
            train, validation = order[:half], order[half:]
        if not train or not validation:
            raise DataError("There must be at least one training and one validation example.")
        return train, validation

    def _models(self) -> Mapping[Phase, FleetLM]:
        target = default_lm()
        teacher = self._teacher.get("lm") or target
        prompt = self._prompt_model or target
        lms: dict[Phase, Any] = {
            "evaluation": target,
            "judge": target,
            "profiling": teacher,
            "optimization": prompt,
        }
        gate = None
        if self._budget is not None:
            _require_holding(self._budget, lms)
            gate = Gate(Account(self._budget, SYSTEM_CLOCK))
        return {phase: metered_lm(lm, phase, gate) for phase, lm in lms.items()}


class MIPROv2(_Documented):
    """Instructions and demonstrations chosen together, in rounds.

    Args:
        metric: `(gold, pred[, trace])`, a number in [0, 1].
        num_threads: Examples under way at a time.
        num_trials: Trials of a round.
        max_labeled_demos: Demonstrations from the data, most.
        max_rounds: Rounds; each starts from the best so far, and the first that gains nothing is the last.
        max_bootstrapped_demos: Demonstrations of the program's own, most.
        teacher_settings: `{"lm": …}` makes the traces.
        auto: `light`, `medium` or `heavy` instead of `num_trials`.
        prompt_model: Proposes instructions; None is the default model.
        seed: Of everything random.
        budget: Caps on the run: `usd`, `calls`, `tokens`, `minutes`.
    """

    _optimizer = "miprov2"


class GEPA(_Documented):
    """Reflective evolution of instructions, in rounds; the metric should say in words what was wrong.

    Args:
        metric: As for `MIPROv2`; `Prediction(score, feedback)` gives the reflection something to read.
        num_trials: Passes over both sets.
        **options: As for `MIPROv2`; demonstrations are left alone.
    """

    _optimizer = "gepa"

    def __init__(self, metric: Callable[..., Any], *, num_trials: int | None = 4, **options: Any) -> None:
        super().__init__(metric, num_trials=num_trials, **options)


class BootstrapFewShotWithRandomSearch(_Documented):
    """Random search over demonstrations, in rounds.

    Args:
        metric: As for `MIPROv2`.
        max_bootstrapped_demos: Demonstrations of the program's own, most.
        num_trials: Candidate programs.
        max_rounds: Rounds.
        **options: As for `MIPROv2`.
    """

    _optimizer = "bootstrap_random_search"

    def __init__(
        self,
        metric: Callable[..., Any],
        *,
        max_bootstrapped_demos: int = 4,
        max_rounds: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(
            metric, max_bootstrapped_demos=max_bootstrapped_demos, max_rounds=max_rounds, **options
        )


def _named(examples: list[dspy.Example], part: str) -> list[dspy.Example]:
    """The examples with an id each, by which passes over the whole set are recognised."""
    for number, example in enumerate(examples, start=1):
        item, group = identity_of(example)
        item = item or f"{part}-{number:04d}"
        identified(example, item, group or item)
    return examples


def _limits(budget: Limits | Mapping[str, Any] | None) -> Limits | None:
    if not isinstance(budget, Mapping):
        return budget
    known = [field.name for field in fields(Limits)]
    for name, cap in budget.items():
        if name not in known:
            raise UnknownName("cap of a budget", str(name), known)
        if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not cap >= 0):
            raise UsageError(f"The budget's cap '{name}' is {cap!r}, not a number of 0 or more.")
    return Limits(**budget)


def _require_holding(limits: Limits, lms: Mapping[Phase, Any]) -> None:
    """Refuse a budget that could not hold."""
    for phase, lm in lms.items():
        if not isinstance(lm, FleetLM):
            raise UsageError("A budget needs models of skill-fleet: use configure_dspy() or get_task_lm().")
        spec = lm.engine.spec
        check_limits(PhaseModels({phase: spec.model}, {phase: spec}), limits, (phase,))
