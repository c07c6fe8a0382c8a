"""Labeled demonstrations: examples of the training data as they are (Khattab et al., 2023, "DSPy")."""

import random
from collections.abc import Mapping

import dspy

from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.optimizer import Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import relabeled

_DRAWS = {"light": 4, "medium": 8, "heavy": 16}


class LabeledFewShot:
    """DSPy's labeled few-shot, drawn several times; the validation set chooses among the draws.

    DSPy draws once, with a seed of its own, and measures nothing.
    """

    info = OptimizerInfo(
        name="labeled_few_shot",
        description="Shows examples of the training data as they are; the best of a few random draws.",
        changes=("demos",),
        needs="Training examples that hold the answers of the predictors themselves; no metric words.",
        cost="Low: every draw is a pass over the validation set, and nothing is generated for it.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "4, 8 or 16 draws"),
            Parameter("trials", "int", None, ">= 1", "draws"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos of a draw"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        fit=Fit(rung=5, answers=True),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        draws = _draws(sizes.effort.auto, sizes.effort.trials)
        # Two draws of few examples may be the same.
        runs = Interval(0.75 * draws * sizes.validation, draws * sizes.validation)
        return {"evaluation": runs.times(relabeled(sizes)).times(sizes.calls_per_run)}

    def improve(self, search: Search) -> dspy.Module:
        """The best draw on the validation set."""
        effort = search.effort
        rng = random.Random(search.seed)
        optimizer = dspy.LabeledFewShot(k=effort.max_labeled_demos)
        draws = []
        for _ in range(_draws(effort.auto, effort.trials)):
            train = list(search.train)
            rng.shuffle(train)
            draws.append(optimizer.compile(search.student, trainset=train, sample=False))
        return best_of(draws, search)


def _draws(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _DRAWS[auto or "light"]
