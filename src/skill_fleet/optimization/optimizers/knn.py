"""Labeled demonstrations chosen for each input: its nearest training examples (as `dspy.KNNFewShot`)."""

from collections.abc import Iterable, Mapping
from typing import Any

import dspy

from skill_fleet.core.programs.recipes.nearest import NearestDemos
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.interval import exactly
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search, uncompiled
from skill_fleet.optimization.spending import relabeled

_NUMBERS = {"light": 2, "medium": 3, "heavy": 5}


class KnnFewShot:
    """Shows each input its nearest training examples; the validation set chooses how many.

    What DSPy's does without bootstrapping at every call. Nothing is drawn, so a seed decides nothing.
    """

    info = OptimizerInfo(
        name="knn_few_shot",
        description="Shows, for each input, the training examples most like it; chooses how many.",
        changes=("inference",),
        needs="Training examples that hold the answers of the predictors themselves; no metric words.",
        cost="Low: every number tried is a pass over the validation set. An answer takes the calls it took.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "2, 3 or 5 numbers of demonstrations"),
            Parameter("trials", "int", None, ">= 1", "numbers tried: the most, half of it, and so on"),
            Parameter("max_labeled_demos", "int", 4, ">= 1", "demonstrations shown, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(seeded=False),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        effort = sizes.effort
        numbers = len(_numbers(effort.auto, effort.trials, min(effort.max_labeled_demos, sizes.train)))
        runs = exactly(numbers * sizes.validation)
        return {"evaluation": runs.times(relabeled(sizes)).times(sizes.calls_per_run)}

    def improve(self, search: Search) -> dspy.Module:
        """The number of nearest examples that is best on the validation set; of equals the smallest."""
        effort = search.effort
        names = [name for name, _ in search.student.named_predictors()]
        inputs = list(dict.fromkeys(name for example in search.train for name in example.inputs()))
        examples = _shown(search.train, _fields(search.student, inputs))
        numbers = _numbers(effort.auto, effort.trials, min(effort.max_labeled_demos, len(examples)))
        shared = {"examples": examples, "inputs": inputs, "predictors": names}
        found = [NearestDemos(uncompiled(search.student), k=k, **shared) for k in sorted(numbers)]
        return best_of(found, search)


def _fields(student: dspy.Module, inputs: Iterable[str]) -> set[str]:
    """What of an example is compared, or can be shown to a predictor."""
    fields = {name for _, predictor in student.named_predictors() for name in predictor.signature.fields}
    return fields.union(inputs)


def _shown(train: Iterable[dspy.Example], fields: set[str]) -> list[dict[str, Any]]:
    return [{name: value for name, value in example.items() if name in fields} for example in train]


def _numbers(auto: str | None, trials: int | None, most: int) -> set[int]:
    tried = trials if trials is not None else _NUMBERS[auto or "light"]
    return {max(1, most >> halvings) for halvings in range(min(tried, 32))}
