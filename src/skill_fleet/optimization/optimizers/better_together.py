"""BetterTogether without fine-tuning: demonstrations, then instructions (Soylu, Potts & Khattab, 2024)."""

from collections.abc import Mapping
from typing import Any

import dspy
from dspy.teleprompt import BetterTogether as StockBetterTogether
from dspy.teleprompt import Teleprompter

from skill_fleet.optimization.optimizer import (
    Capabilities,
    Fit,
    Interval,
    OptimizerInfo,
    Parameter,
    Sizes,
)
from skill_fleet.optimization.search import Search, uncompiled
from skill_fleet.optimization.spending import random_search, reflected

_EFFORT = {"light": 4, "medium": 8, "heavy": 16}
_DEFAULT_BOOTSTRAPPED = 4
_MINIBATCH = 3
_STRATEGY = "demos -> words"


class BetterTogether:
    """DSPy's BetterTogether over its random search and GEPA: the second starts from what the first found.

    Fine-tuning, the stock default, is left out: weights are no JSON, and no provider's job is on a budget.
    Stock swallows what goes wrong in a step and returns the best before it, and leaves models inside of its
    result; here the error is raised, and models come from the phases.
    """

    info = OptimizerInfo(
        name="better_together",
        description="Finds demonstrations by random search, then rewrites instructions with them in place.",
        changes=("instructions", "demos"),
        needs="From about 10 training examples of which some already succeed; a metric with words.",
        cost="High: both searches, one after the other.",
        parameters=(
            Parameter(
                "auto",
                "choice",
                "light",
                "light|medium|heavy",
                "4, 8 or 16 candidates, then full evaluations",
            ),
            Parameter(
                "trials", "int", None, ">= 1", "candidate sets of demos, then max_full_evals of rewriting"
            ),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 1", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "optimization", "evaluation")),
        fit=Fit(min_train=10, words=True),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        number = _number(sizes.effort.auto, sizes.effort.trials)
        demos = random_search(sizes, number, _wanted(sizes.effort.max_bootstrapped_demos))
        rollouts = number * (sizes.train + sizes.validation)
        # GEPA checks its budget between steps: the last may run over by a batch and a full pass. What each
        # step found is measured once more, which the journal mostly knows.
        most = rollouts + 3 * sizes.validation + 2 * _MINIBATCH
        runs, reflections = reflected(rollouts, most, _MINIBATCH, sizes)
        evaluation = demos["evaluation"].plus(runs.times(sizes.calls_per_run))
        return {**demos, "evaluation": evaluation, "optimization": reflections}

    def improve(self, search: Search) -> dspy.Module:
        """The best on the validation set of the student, its demonstrations, and both together."""
        steps = {"demos": _Step(_demonstrating(search)), "words": _Step(_rewriting(search))}
        student = uncompiled(search.student)
        student.set_lm(search.lms["evaluation"])
        found = StockBetterTogether(metric=search.score, **steps).compile(
            student,
            trainset=list(search.train),
            valset=list(search.validation),
            num_threads=search.effort.num_threads,
            seed=search.seed,
            strategy=_STRATEGY,
        )
        for step in steps.values():
            if step.error is not None:
                raise step.error
        found.set_lm(None)
        return found


class _Step(Teleprompter):
    """One optimizer of the sequence, as it runs alone: models of the phases, a student it accepts.

    BetterTogether wants a model in every predictor; there it would come before the one that is to make
    demonstrations.

    Attributes:
        error: What went wrong, which BetterTogether logs and forgets.
    """

    def __init__(self, inner: Teleprompter) -> None:
        super().__init__()
        self.inner = inner
        self.error: Exception | None = None

    def compile(
        self, student: dspy.Module, *, trainset: list[dspy.Example], valset: list[dspy.Example]
    ) -> dspy.Module:
        """What the optimizer makes of the student, with the student's models."""
        lm = student.get_lm()
        plain = uncompiled(student)
        plain.set_lm(None)
        try:
            found = self.inner.compile(plain, trainset=trainset, valset=valset)
        except Exception as error:
            self.error = error
            raise
        found.set_lm(lm)
        return found


def _demonstrating(search: Search) -> Teleprompter:
    effort = search.effort
    return dspy.BootstrapFewShotWithRandomSearch(
        metric=search.score,
        teacher_settings={"lm": search.lms["profiling"]},
        max_bootstrapped_demos=_wanted(effort.max_bootstrapped_demos),
        max_labeled_demos=effort.max_labeled_demos,
        num_candidate_programs=_number(effort.auto, effort.trials),
        num_threads=effort.num_threads,
        metric_threshold=search.demo_threshold,
    )


def _rewriting(search: Search) -> Teleprompter:
    effort = search.effort
    settings: dict[str, Any] = {"max_full_evals": _number(effort.auto, effort.trials)}
    return dspy.GEPA(
        metric=search.score_with_feedback,
        reflection_lm=search.lms["optimization"],
        num_threads=effort.num_threads,
        seed=search.seed,
        track_stats=False,
        **settings,
    )


def _number(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _EFFORT[auto or "light"]


def _wanted(demos: int | None) -> int:
    return max(1, _DEFAULT_BOOTSTRAPPED if demos is None else demos)
