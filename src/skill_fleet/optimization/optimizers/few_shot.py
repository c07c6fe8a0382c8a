"""Bootstrapped demonstrations without a search (Khattab et al., 2023, "DSPy")."""

import random
from collections.abc import Mapping
from functools import partial
from typing import Any

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.prefetch.ahead import running_ahead
from skill_fleet.optimization.prefetch.bootstrap import BOOTSTRAP_NAMES, prefetch_few_shot
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import bootstrapping, taught

_ATTEMPTS = {"light": 1, "medium": 2, "heavy": 3}
_DEFAULT_BOOTSTRAPPED = 4


class BootstrapFewShot:
    """DSPy's bootstrapped few-shot: one set of demonstrations, made by the model of `profiling`.

    It goes through the training examples one after the other until it has enough, so the run's seed decides
    their order. It measures nothing: a search that is stopped leaves no program.
    """

    info = OptimizerInfo(
        name="bootstrap_few_shot",
        description="Shows the first good answers of the program itself as demonstrations; no search.",
        changes=("demos",),
        needs="From about 5 training examples of which some already succeed.",
        cost="Very low: at most one run a training example and attempt.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "1, 2 or 3 attempts an example"),
            Parameter("trials", "int", None, ">= 1", "max_rounds: attempts an example, most"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 0", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos in all that data may fill up to"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling",), tracked=False),
        fit=Fit(rung=4),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        attempts = _attempts(sizes.effort.auto, sizes.effort.trials)
        wanted = _wanted(sizes.effort.max_bootstrapped_demos)
        runs = bootstrapping(range(wanted, wanted + 1), sizes.train, attempts)
        return {"profiling": taught(runs, sizes, attempts)}

    def improve(self, search: Search) -> dspy.Module:
        """The program with one set of demonstrations."""
        effort = search.effort
        train = list(search.train)
        random.Random(search.seed).shuffle(train)
        settings: dict[str, Any] = {
            "metric_threshold": search.demo_threshold,
            "max_bootstrapped_demos": _wanted(effort.max_bootstrapped_demos),
            "max_labeled_demos": effort.max_labeled_demos,
            "max_rounds": _attempts(effort.auto, effort.trials),
        }
        with running_ahead(search, BOOTSTRAP_NAMES) as ahead:
            settings["teacher_settings"] = {"lm": ahead.search.lms["profiling"]}
            ghost = dspy.BootstrapFewShot(metric=ahead.score, **settings)
            student = search.student.deepcopy()
            ahead.start(partial(prefetch_few_shot, bootstrap=ghost, student=student, trainset=train))
            stock = dspy.BootstrapFewShot(metric=ahead.search.score, **settings)
            return stock.compile(search.student, trainset=train)


def _attempts(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _ATTEMPTS[auto or "light"]


def _wanted(demos: int | None) -> int:
    return _DEFAULT_BOOTSTRAPPED if demos is None else demos
