"""Bootstrapped demonstrations with random search (Khattab et al., 2023, "DSPy")."""

from collections.abc import Mapping

import dspy

from skill_fleet.optimization.demo_search import (
    DEFAULT_BOOTSTRAPPED,
    candidates_of,
    own_demos_of,
    searched_demos,
)
from skill_fleet.optimization.optimizer import Capabilities, Fit, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Search
from skill_fleet.optimization.spending import random_search


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
            Parameter("max_bootstrapped_demos", "int", DEFAULT_BOOTSTRAPPED, ">= 1", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("profiling", "evaluation")),
        fit=Fit(rung=3, min_train=10),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase."""
        return random_search(sizes, candidates_of(sizes.effort), own_demos_of(sizes.effort))

    def improve(self, search: Search) -> dspy.Module:
        """The best set of demonstrations on the validation set."""
        return searched_demos(search)
