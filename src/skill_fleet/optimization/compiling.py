"""The rounds of a documented optimizer class: search from the best so far, keep what is better, no further.

Nothing is written down and nothing is sealed: this is for people's own code, which has its own test.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.recipes.rebuild import with_state
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import Measurement, identity_of, is_better
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.score import Metric
from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.budget import Gate
from skill_fleet.llm.calls.engine import OnFailure
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.attribution import Attribution
from skill_fleet.optimization.door import Doorkeeper
from skill_fleet.optimization.evaluate import failed_share_of
from skill_fleet.optimization.optimizer import Optimizer
from skill_fleet.optimization.own_failures import OwnFailures
from skill_fleet.optimization.search import Effort, Search, Tracker, uncompiled, unfocused
from skill_fleet.optimization.searching.stages import demo_threshold, require_scores

_TARGET = 0.8
_logger = logging.getLogger("dspy")


@dataclass(frozen=True)
class Compilation:
    """One compile call, put together.

    Attributes:
        optimizer: What searches.
        metric: What scores.
        effort: How far a round searches.
        lms: The model of each phase.
        seed: Of everything random.
        rounds: Most rounds.
        capped: Whether there is a budget, behind whose gate every model is.
    """

    optimizer: Optimizer
    metric: Metric
    effort: Effort
    lms: Mapping[Phase, FleetLM]
    seed: int
    rounds: int
    capped: bool


def improved(
    setup: Compilation, student: dspy.Module, train: list[dspy.Example], validation: list[dspy.Example]
) -> dspy.Module:
    """The best program found by its mean on the validation set; the student where nothing is better.

    Two programs are compared on the examples that have a score for both.

    Args:
        setup: How.
        student: Where the first round starts.
        train: What is learnt from.
        validation: What programs are chosen by.

    Raises:
        Halt: Something else than a cap ended it.
        ProviderError: Too many examples failed.
        MetricError: The metric broke on an answer: left out, it would choose which examples count.
        DataError: No example of a set has a score.
    """
    best = student.deepcopy()
    try:
        train, on_train = _with_scores(setup, best, train)
        validation, on_validation = _with_scores(setup, best, validation)
    except Halt as stopped:
        _warn_of_budget(stopped)
        return best
    threshold = demo_threshold(list(on_train.scores().values()), _TARGET)
    for number in range(1, setup.rounds + 1):
        search = Search(
            uncompiled(best),
            train,
            validation,
            Judged(setup.metric, setup.lms["judge"], own_models=not setup.capped),
            setup.lms,
            setup.effort,
            setup.seed + 1000 * (number - 1),
            threshold,
            lambda: None,
        )
        found, halt = _one_round(setup, search)
        on_found, halt = _measured_if_known(setup, found, validation, halt)
        gained = on_found is not None and is_better(on_validation, on_found)
        if found is not None and on_found is not None and gained:
            best, on_validation = found, on_found
        _log_round(number, None if on_found is None else on_found.mean, best)
        if halt is not None:
            _warn_of_budget(halt)
        if halt is not None or not gained:
            break
    return unfocused(best, type(student))


def _with_scores(
    setup: Compilation, program: dspy.Module, examples: list[dspy.Example]
) -> tuple[list[dspy.Example], Measurement]:
    """The examples that have a score, and their scores; a search cannot tell a failure from a bad one."""
    lm = setup.lms["evaluation"]
    if isinstance(lm, FleetLM):
        lm = metered_lm(lm, "evaluation", lm.engine.gate, "raise")
    found = _measured(setup, program, examples, lm)
    scores = found.scores()
    kept = [example for example in examples if identity_of(example)[0] in scores]
    if not kept:
        raise DataError(f"None of the {len(examples)} examples of a set has a score: nothing can be learnt.")
    if len(kept) < len(examples):
        warnings.warn(
            f"{len(examples) - len(kept)} of {len(examples)} examples have no score and are set aside.",
            stacklevel=4,
        )
    return kept, Measurement(tuple(one for one in found.outcomes if one.score is not None))


def _measured(setup: Compilation, program: dspy.Module, examples: list[dspy.Example], lm: Any) -> Measurement:
    judge = setup.lms["judge"]
    if isinstance(lm, FleetLM) and isinstance(judge, FleetLM):
        judge = metered_lm(judge, "judge", lm.engine.gate, lm.engine.on_failure)
    metric = Judged(setup.metric, judge, own_models=not setup.capped)
    found = measure(
        program,
        examples,
        metric,
        lm=lm,
        num_threads=setup.effort.num_threads,
        max_failed_share=failed_share_of(lm),
    )
    require_scores(found)
    return found


def _warn_of_budget(halt: Halt) -> None:
    """Say that a cap ended the search.

    Raises:
        Halt: It was something else.
    """
    if halt.cause != "budget":
        raise halt
    warnings.warn(f"{halt.error.message} The best program so far is returned.", stacklevel=4)


def _one_round(setup: Compilation, search: Search) -> tuple[dspy.Module | None, Halt | None]:
    """The round's program; after a cap was reached, the best that was seen."""
    tracker = Tracker([identity_of(example)[0] for example in search.validation])
    try:
        lm = setup.lms["evaluation"]
        doors = [Doorkeeper(lm.engine.gate)] if isinstance(lm, FleetLM) else []
        examples = Attribution([*search.train, *search.validation])
        callbacks = [*(dspy.settings.callbacks or ()), tracker, *doors, OwnFailures(None), examples]
        with dspy.context(lm=lm, callbacks=callbacks, max_errors=10**9):
            found = setup.optimizer.improve(search)
    except Halt as halt:
        if halt.cause != "budget":
            raise
        state = tracker.best()
        return (None if state is None else with_state(search.student, state)), halt
    # Without what optimizers hang on a program: every candidate of the round, copied with each copy of it.
    return with_state(search.student, clean_state(found)), None


def _measured_if_known(
    setup: Compilation, program: dspy.Module | None, validation: list[dspy.Example], halt: Halt | None
) -> tuple[Measurement | None, Halt | None]:
    """The program's scores, and what ended the search; after a halt from answers journaled already."""
    if program is None:
        return None, halt
    lm = setup.lms["evaluation"]
    if halt is not None:
        account = lm.engine.gate.account  # the old gate stays closed; this one lets through what still fits
        lm = metered_lm(lm, "evaluation", Gate(account))
    try:
        return _measured(setup, program, validation, lm), halt
    except Halt as stopped:
        if stopped.cause != "budget":
            raise
        return None, halt or stopped


def _log_round(number: int, mean: float | None, program: dspy.Module) -> None:
    _logger.info("Round %d: score=%s", number, "none" if mean is None else f"{mean:.3f}")
    instructions = {name: p.signature.instructions for name, p in program.named_predictors()}
    _logger.info("Best instructions: %s", instructions)


def metered_lm(lm: Any, phase: Phase, gate: Gate | None, on_failure: OnFailure = "halt") -> Any:
    """A model under this compile's budget."""
    if not isinstance(lm, FleetLM):
        return lm
    copy = FleetLM(lm.engine.behind(gate=gate, on_failure=on_failure), phase=phase)
    copy.kwargs = dict(lm.kwargs)
    return copy
