"""Hill climbing over labeled demonstrations: exchange one at a time, keep what is better."""

import random
from collections.abc import Mapping, Sequence

import dspy

from skill_fleet.optimization.choosing import score_on_validation
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search

_STEPS = {"light": 6, "medium": 12, "heavy": 24}


class Hillclimb:
    """DSPy's `LabeledFewShot` on a set of examples that is changed by one example a step."""

    info = OptimizerInfo(
        name="hillclimb",
        description="Shows training examples, and exchanges them one by one while that helps.",
        changes=("demos",),
        needs="Training examples that hold the answers of the predictors themselves.",
        cost="Low: every step is a pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "6, 12 or 24 steps"),
            Parameter("trials", "int", None, ">= 1", "steps"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "examples shown"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("evaluation",)),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        passes = _steps(sizes.effort.auto, sizes.effort.trials) + 1
        runs = Interval(0.5 * passes * sizes.validation, passes * sizes.validation)
        return {"evaluation": runs.times(sizes.calls_per_run)}

    def improve(self, search: Search) -> dspy.Module:
        """The program with the best set of examples seen."""
        rng = random.Random(search.seed)
        train = list(search.train)
        size = min(search.effort.max_labeled_demos, len(train))
        shown = rng.sample(range(len(train)), size)
        best = _showing([train[number] for number in shown], search)
        best_score = score_on_validation(best, search)
        for _ in range(_steps(search.effort.auto, search.effort.trials)):
            others = [number for number in range(len(train)) if number not in shown]
            if not shown or not others:
                break
            tried = list(shown)
            tried[rng.randrange(size)] = rng.choice(others)
            candidate = _showing([train[number] for number in tried], search)
            score = score_on_validation(candidate, search)
            if score > best_score:
                shown, best, best_score = tried, candidate, score
        return best


def _showing(examples: Sequence[dspy.Example], search: Search) -> dspy.Module:
    optimizer = dspy.LabeledFewShot(k=len(examples))
    return optimizer.compile(search.student, trainset=list(examples), sample=False)


def _steps(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _STEPS[auto or "light"]
