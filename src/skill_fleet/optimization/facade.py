"""The documented optimizer classes, for people's own code: today's DSPy underneath, with a seed and a budget.

They take plain dicts where examples are, never make an input of what is expected, and run on the model that
DSPy is configured with; where none is, on the configured model of skill-fleet. A budget and the journal
need a model from `configure_dspy` or `get_task_lm`.
"""

import logging
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.core.dspy.examples import coerce_examples, identified
from skill_fleet.core.programs.catalog import input_fields
from skill_fleet.domain.trainset import SKILL_INPUTS
from skill_fleet.evaluation.measurement import Measurement, identity_of
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.score import Metric
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import DataError, UsageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.dspy_config import get_task_lm
from skill_fleet.llm.engine import MeteredEngine
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.optimizer import Optimizer
from skill_fleet.optimization.registry import find_optimizer
from skill_fleet.optimization.search import Effort, Search, Tracker, uncompiled, unfocused
from skill_fleet.optimization.stages import demo_threshold

_GAIN = 1e-9
_TARGET = 0.8
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
        examples = _examples(program, self.devset)
        found = measure(
            program,
            examples,
            adapt_metric(chosen),
            lm=_default_lm(),
            num_threads=self.num_threads,
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


@dataclass(frozen=True)
class _Setup:
    """One compile call, put together."""

    optimizer: Optimizer
    metric: Metric
    effort: Effort
    lms: Mapping[Phase, FleetLM]
    gate: Gate | None
    seed: int
    rounds: int


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
        self._budget = Limits(**budget) if isinstance(budget, Mapping) else budget

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
            ProviderError: A model call failed for good.
            MetricError: The metric broke.
        """
        train, validation = self._parts(student, trainset, valset)
        gate = None if self._budget is None else Gate(Account(self._budget, SYSTEM_CLOCK))
        setup = _Setup(
            find_optimizer(self._optimizer),
            self.metric,
            self._effort,
            self._models(gate),
            gate,
            self._seed,
            self._rounds,
        )
        try:
            return _improved(setup, student, train, validation)
        except Halt as halt:
            raise halt.error from halt

    def _parts(
        self, student: dspy.Module, trainset: Sequence[Any], valset: Sequence[Any] | None
    ) -> tuple[list[dspy.Example], list[dspy.Example]]:
        train = _named(_examples(student, trainset), "train")
        if valset is not None:
            validation = _named(_examples(student, valset), "validation")
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

    def _models(self, gate: Gate | None) -> Mapping[Phase, FleetLM]:
        target = _default_lm()
        teacher = self._teacher.get("lm") or target
        prompt = self._prompt_model or target
        phases = {"evaluation": target, "judge": target, "profiling": teacher, "optimization": prompt}
        return {
            cast("Phase", phase): _metered(lm, cast("Phase", phase), gate) for phase, lm in phases.items()
        }


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


def _improved(
    setup: _Setup, student: dspy.Module, train: list[dspy.Example], validation: list[dspy.Example]
) -> dspy.Module:
    def on(program: dspy.Module, examples: list[dspy.Example]) -> Measurement:
        return measure(
            program,
            examples,
            setup.metric,
            lm=setup.lms["evaluation"],
            num_threads=setup.effort.num_threads,
        )

    best = student.deepcopy()
    shown = list(on(best, train).scores().values())
    best_mean = on(best, validation).mean or 0.0
    for number in range(1, setup.rounds + 1):
        search = Search(
            uncompiled(best),
            train,
            validation,
            setup.metric,
            setup.lms,
            setup.effort,
            setup.seed + 1000 * (number - 1),
            demo_threshold(shown, _TARGET),
            lambda: None,
        )
        found, halt = _one_round(setup, search)
        mean = None if found is None else _mean_if_known(on, found, validation)
        _log_round(number, mean, found or best)
        if found is not None and mean is not None and mean > best_mean + _GAIN:
            best, best_mean = found, mean
        elif halt is None:
            break
        if halt is not None:
            warnings.warn(f"{halt.error.message} The best program so far is returned.", stacklevel=4)
            break
    return unfocused(best, type(student))


def _one_round(setup: _Setup, search: Search) -> tuple[dspy.Module | None, Halt | None]:
    """The round's program; after a cap was reached, the best that was seen."""
    tracker = Tracker([identity_of(example)[0] for example in search.validation])
    try:
        with dspy.context(lm=setup.lms["evaluation"], callbacks=[tracker], max_errors=10**9):
            return setup.optimizer.improve(search), None
    except Halt as halt:
        if halt.cause != "budget":
            raise
        state = tracker.best()
        if state is None:
            return None, halt
        program = search.student.deepcopy()
        program.load_state(state)
        return program, halt


def _mean_if_known(
    on: Callable[[dspy.Module, list[dspy.Example]], Measurement],
    program: dspy.Module,
    validation: list[dspy.Example],
) -> float | None:
    try:
        return on(program, validation).mean
    except Halt as halt:
        if halt.cause != "budget":
            raise
        return None


def _log_round(number: int, mean: float | None, program: dspy.Module) -> None:
    _logger.info("Round %d: score=%s", number, "none" if mean is None else f"{mean:.3f}")
    instructions = {name: p.signature.instructions for name, p in program.named_predictors()}
    _logger.info("Best instructions: %s", instructions)


def _log_progress(done: int, total: int, _outcome: Any) -> None:
    if done == total or done % max(1, total // 10) == 0:
        _logger.info("Evaluated %d of %d examples.", done, total)


def _examples(program: dspy.Module, values: Sequence[Any]) -> list[dspy.Example]:
    names = input_fields(program)
    return coerce_examples(values, SKILL_INPUTS if set(names) == set(SKILL_INPUTS) else names)


def _named(examples: list[dspy.Example], part: str) -> list[dspy.Example]:
    """The examples with an id each, by which passes over the whole set are recognised."""
    for number, example in enumerate(examples, start=1):
        item, group = identity_of(example)
        item = item or f"{part}-{number:04d}"
        identified(example, item, group or item)
    return examples


def _default_lm() -> Any:
    return dspy.settings.lm or get_task_lm("evaluation")


def _metered(lm: Any, phase: Phase, gate: Gate | None) -> Any:
    """A model under this compile's budget."""
    if not isinstance(lm, FleetLM):
        if gate is not None:
            raise UsageError(
                "A budget needs models of skill-fleet: use configure_dspy() or get_task_lm().",
            )
        return lm
    engine = lm.engine
    inside = gate or engine.gate
    metered = MeteredEngine(engine.inner, engine.spec, engine.line, inside, engine.price, "halt")
    copy = FleetLM(metered, phase=phase)
    copy.kwargs = dict(lm.kwargs)
    return copy
