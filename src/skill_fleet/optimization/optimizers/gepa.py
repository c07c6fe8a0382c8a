"""GEPA: reflective evolution of instructions (Agrawal et al., 2025, "GEPA: Reflective Prompt Evolution")."""

import math
from collections.abc import Mapping
from typing import Any

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import reflected

_CANDIDATES = {"light": 6, "medium": 12, "heavy": 18}
_MINIBATCH = 3


class Gepa:
    """DSPy's GEPA with the phase models, a seed, and no state of its own on disk.

    Its own `log_dir` resume repeats calls and is a pickle; the journal replays instead.
    """

    info = OptimizerInfo(
        name="gepa",
        description="Reads what went wrong and rewrites one instruction at a time; keeps a Pareto front.",
        changes=("instructions",),
        needs="A metric that says in words what was wrong; from about 10 training examples.",
        cost="Medium: short batches, one reflection each, full validation only for what looks better.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "how many rollouts"),
            Parameter(
                "trials", "int", None, ">= 1", "max_full_evals: rollouts as passes over train+validation"
            ),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("evaluation", "optimization")),
        fit=Fit(rung=1, min_train=10, words=True),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        rollouts = self._rollouts(sizes)
        # GEPA checks its budget between steps: the last step may run over by a batch and a full pass.
        most = rollouts + sizes.validation + 2 * _MINIBATCH
        runs, steps = reflected(rollouts, most, _MINIBATCH, sizes)
        return {"evaluation": runs.times(sizes.calls_per_run), "optimization": steps}

    def improve(self, search: Search) -> dspy.Module:
        """The best candidate by mean validation score."""
        effort = search.effort
        budget: dict[str, Any] = (
            {"auto": effort.auto} if effort.trials is None else {"max_full_evals": effort.trials}
        )
        optimizer = dspy.GEPA(
            metric=search.score_with_feedback,
            reflection_lm=search.lms["optimization"],
            num_threads=effort.num_threads,
            seed=search.seed,
            track_stats=False,
            **budget,
        )
        return optimizer.compile(search.student, trainset=list(search.train), valset=list(search.validation))

    def _rollouts(self, sizes: Sizes) -> int:
        """Rollouts of a round: DSPy's `GEPA.auto_budget`, or passes over both sets."""
        if sizes.effort.trials is not None:
            return sizes.effort.trials * (sizes.train + sizes.validation)
        candidates = _CANDIDATES[sizes.effort.auto or "light"]
        trials = int(max(4 * sizes.predictors * math.log2(candidates), 1.5 * candidates))
        full = (trials + 1) // 5 + 1
        return sizes.validation + 5 * candidates + trials * 35 + full * sizes.validation
