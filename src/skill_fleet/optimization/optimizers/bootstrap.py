"""Bootstrapped demonstrations with random search (Khattab et al., 2023, "DSPy")."""

import random
from collections.abc import Mapping
from functools import partial

import dspy

from skill_fleet.optimization.optimizer import Capabilities, Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.prefetch.ahead import running_ahead
from skill_fleet.optimization.prefetch.bootstrap import RANDOM_SEARCH_NAMES, prefetch_random_search
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import random_search

_CANDIDATES = {"light": 8, "medium": 16, "heavy": 32}
_DEFAULT_BOOTSTRAPPED = 4


class BootstrapRandomSearch:
    """DSPy's random search over sets of demonstrations; `profiling` makes them.

    DSPy's own seeds are fixed, so the run's seed decides the order of the training examples.
    """

    info = OptimizerInfo(
        name="bootstrap_random_search",
        description="Tries random sets of the program's own good answers as demonstrations.",
        changes=("demos",),
        needs="From about 10 training examples of which some already succeed.",
        cost="Medium: every candidate is a pass over the validation set.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "8, 16 or 32 candidate programs"),
            Parameter("trials", "int", None, ">= 1", "num_candidate_programs"),
            Parameter("max_bootstrapped_demos", "int", _DEFAULT_BOOTSTRAPPED, ">= 1", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "evaluation")),
        fit=Fit(rung=3, min_train=10),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        effort = sizes.effort
        candidates = _candidates(effort.auto, effort.trials)
        bootstrapped = effort.max_bootstrapped_demos
        own = max(1, _DEFAULT_BOOTSTRAPPED if bootstrapped is None else bootstrapped)
        return random_search(sizes, candidates, own)

    def improve(self, search: Search) -> dspy.Module:
        """The best set of demonstrations on the validation set."""
        effort = search.effort
        bootstrapped = effort.max_bootstrapped_demos
        train = list(search.train)
        random.Random(search.seed).shuffle(train)
        validation = list(search.validation)
        with running_ahead(search, RANDOM_SEARCH_NAMES) as ahead:
            optimizer = dspy.BootstrapFewShotWithRandomSearch(
                metric=ahead.search.score,
                teacher_settings={"lm": ahead.search.lms["profiling"]},
                max_bootstrapped_demos=max(
                    1, _DEFAULT_BOOTSTRAPPED if bootstrapped is None else bootstrapped
                ),
                max_labeled_demos=effort.max_labeled_demos,
                num_candidate_programs=_candidates(effort.auto, effort.trials),
                num_threads=effort.num_threads,
                metric_threshold=search.demo_threshold,
            )
            student = search.student.deepcopy()
            ahead.start(
                partial(
                    prefetch_random_search,
                    search=optimizer,
                    metric=ahead.score,
                    student=student,
                    trainset=train,
                    valset=validation,
                )
            )
            return optimizer.compile(search.student, trainset=train, valset=validation)


def _candidates(auto: str | None, trials: int | None) -> int:
    return trials if trials is not None else _CANDIDATES[auto or "light"]
