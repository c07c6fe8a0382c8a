"""MIPROv2: instructions and demonstrations chosen together (Opsahl-Ong et al., 2024)."""

import math
from collections.abc import Mapping
from typing import Any

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search

_CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
_DEFAULT_BOOTSTRAPPED = 8
_MINIBATCH = 35
_SMALL_VALIDATION = 50


class MiproV2:
    """DSPy's MIPROv2: `profiling` bootstraps, `optimization` proposes, `evaluation` is measured."""

    info = OptimizerInfo(
        name="miprov2",
        description="Bootstraps demonstrations, proposes instructions, and searches their combinations.",
        changes=("instructions", "demos"),
        needs="From about 20 training examples of which some already succeed.",
        cost="High: every trial is a pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "how many candidates and trials"),
            Parameter("trials", "int", None, ">= 1", "num_trials"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 0", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "optimization", "evaluation")),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        candidates, trials = self._plan(sizes)
        small = sizes.validation <= _SMALL_VALIDATION
        batch = sizes.validation if small else min(_MINIBATCH, sizes.validation)
        full = 1 if small else trials // 5 + 2
        runs = Interval(0.25 * trials * batch, trials * batch + full * sizes.validation + sizes.validation)
        boots = Interval(min(sizes.train, candidates), (candidates - 1) * sizes.train)
        # Per candidate and predictor one proposal and two descriptions, and a summary of the data;
        # each may be asked a second time in JSON.
        proposals = 2 * (candidates * sizes.predictors * 4 + sizes.train / 5 + 4)
        return {
            "profiling": boots.times(sizes.calls_per_run),
            "optimization": Interval(candidates * sizes.predictors / 2, proposals),
            "evaluation": runs.times(sizes.calls_per_run),
        }

    def improve(self, search: Search) -> dspy.Module:
        """The best combination on the validation set."""
        effort = search.effort
        bootstrapped = effort.max_bootstrapped_demos
        settings: dict[str, Any] = {"auto": effort.auto}
        extra: dict[str, Any] = {}
        if effort.trials is not None:
            settings = {"auto": None, "num_candidates": _candidates_for(effort.trials)}
            batched = len(search.validation) > _SMALL_VALIDATION
            extra = {"num_trials": effort.trials, "minibatch": batched}
        optimizer = dspy.MIPROv2(
            metric=search.score,
            prompt_model=search.lms["optimization"],
            task_model=search.lms["evaluation"],
            teacher_settings={"lm": search.lms["profiling"]},
            max_bootstrapped_demos=_DEFAULT_BOOTSTRAPPED if bootstrapped is None else bootstrapped,
            max_labeled_demos=effort.max_labeled_demos,
            num_threads=effort.num_threads,
            metric_threshold=search.demo_threshold,
            **settings,
        )
        return optimizer.compile(
            search.student,
            trainset=list(search.train),
            valset=list(search.validation),
            seed=search.seed + 1,  # DSPy reads 0 as "not given"
            **extra,
        )

    def _plan(self, sizes: Sizes) -> tuple[int, int]:
        """Candidates and trials."""
        if sizes.effort.trials is not None:
            return _candidates_for(sizes.effort.trials), sizes.effort.trials
        candidates = _CANDIDATES[sizes.effort.auto or "light"]
        return candidates, int(max(4 * sizes.predictors * math.log2(candidates), 1.5 * candidates))


def _candidates_for(trials: int) -> int:
    """Candidates that so many trials can tell apart: DSPy's own proportion of 3 trials to 2 candidates."""
    return max(2, min(18, round(trials / 1.5)))
