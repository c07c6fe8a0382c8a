"""SIMBA: stochastic introspective mini-batch ascent (DSPy's own; described in its reference)."""

from collections.abc import Callable, Mapping
from typing import Any

import dspy
from dspy.teleprompt import SIMBA

from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search

_STEPS = {"light": 4, "medium": 8, "heavy": 16}
_BATCH = 16
_CANDIDATES = 4
_DEFAULT_DEMOS = 4


class Simba:
    """DSPy's SIMBA with the phase models; its finalists are chosen among on the validation set.

    Stock SIMBA calls no `Evaluate`, chooses on its training set, asks the metric about a prediction that does
    not exist, and writes into the model it is given; the latter is a copy here. A search that is stopped
    before the finalists are measured leaves no program of that round.
    """

    info = OptimizerInfo(
        name="simba",
        description="Samples answers in small batches; where they differ, adds a demonstration or a rule.",
        changes=("instructions", "demos"),
        needs="Answers that vary in quality; better with a metric that says in words what was wrong.",
        cost="Medium: 144 runs a step, then the finalists on the training and the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "4, 8 or 16 steps"),
            Parameter("trials", "int", None, ">= 1", "max_steps"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_DEMOS, ">= 0", "own demos, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "optimization", "evaluation")),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        steps = _steps(sizes.effort.auto, sizes.effort.trials)
        batch = min(_BATCH, sizes.train)
        finalists = min(_CANDIDATES, steps) + 1
        asked = steps * batch
        most = asked * 2 * _CANDIDATES + finalists * (sizes.train + sizes.validation)
        # Few examples come again in later steps, to programs that have answered them; and where answers no
        # longer differ a step tries nothing.
        new = sizes.train / (sizes.train + _BATCH)
        runs = Interval(0.45 * new * most, min(1.0, 1.2 * new) * most, most)
        return {
            # The first of the sampling models is that of `profiling`.
            "profiling": Interval(0.5 * new * asked, asked).times(sizes.calls_per_run),
            "evaluation": runs.times(sizes.calls_per_run),
            # A rule that cannot be read is asked for again in JSON, and then of the next example.
            "optimization": Interval(0, min(1.5 * steps, 2 * asked), 2 * asked),
        }

    def improve(self, search: Search) -> dspy.Module:
        """The best of the finalists on the validation set."""
        effort = search.effort
        demos = effort.max_bootstrapped_demos
        optimizer = SIMBA(
            metric=_of_existing(search.score_with_feedback),
            bsize=min(_BATCH, len(search.train)),
            num_candidates=_CANDIDATES,
            max_steps=_steps(effort.auto, effort.trials),
            max_demos=_DEFAULT_DEMOS if demos is None else demos,
            prompt_model=search.lms["optimization"],
            teacher_settings={"lm": search.lms["profiling"].copy()},
            num_threads=effort.num_threads,
        )
        optimizer.strategies = [_from(search.demo_threshold, strategy) for strategy in optimizer.strategies]
        found = optimizer.compile(search.student, trainset=list(search.train), seed=search.seed)
        return best_of([each["program"] for each in found.candidate_programs], search)


def _of_existing(metric: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """The metric; no answer at all is no question for it, and scores 0 as everywhere in DSPy."""

    def judge(gold: Any, pred: Any) -> Any:
        if pred is None:
            return dspy.Prediction(score=0.0, feedback="The program gave no readable answer.")
        return metric(gold, pred)

    return judge


def _from(threshold: float, strategy: Callable[..., bool]) -> Callable[..., bool]:
    """A strategy that makes no demonstration of an answer below the threshold."""
    if not strategy.__name__.startswith("append_a_demo"):
        return strategy

    def append_a_good_demo(bucket: Any, system: Any, **kwargs: Any) -> bool:
        return bucket[0]["score"] >= threshold and strategy(bucket, system, **kwargs)

    return append_a_good_demo


def _steps(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _STEPS[auto or "light"]
