"""The best programs of a random search, voting (`dspy.Ensemble` of what `dspy`'s random search tried)."""

from collections.abc import Mapping

import dspy

from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.recipes.rebuild import with_state
from skill_fleet.core.programs.recipes.voting import Ensemble
from skill_fleet.foundation.canonical import digest
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.demo_search import (
    DEFAULT_BOOTSTRAPPED,
    candidates_of,
    own_demos_of,
    searched_demos,
)
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Parameter, Sizes
from skill_fleet.optimization.search import Effort, Search
from skill_fleet.optimization.spending import random_search

_SIZES = (3, 5, 7)


class EnsembleOfDemos:
    """DSPy's random search over demonstrations, whose best programs then vote.

    The vote of 3, 5 and 7 of them is measured beside the best one alone, from answers that are paid for
    already. Where no vote is better, which is always so over free text, the best one alone is the result: an
    ordinary program.
    """

    info = OptimizerInfo(
        name="ensemble",
        description="Lets the best programs of a random search vote, where a vote beats the best of them.",
        changes=("demos", "inference"),
        needs="A last output field of few values, such as a label: over free text no two answers agree.",
        cost="Medium to find, and then for good: an answer takes 3, 5 or 7 runs of the program instead of 1.",
        parameters=(
            Parameter("auto", "choice", "light", "light|medium|heavy", "8, 16 or 32 candidate programs"),
            Parameter("trials", "int", None, ">= 1", "num_candidate_programs"),
            Parameter("max_bootstrapped_demos", "int", DEFAULT_BOOTSTRAPPED, ">= 1", "own demos, most"),
            Parameter("max_labeled_demos", "int", 4, ">= 0", "demos from the data, most"),
            Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
        ),
        capabilities=Capabilities(phases=("evaluation", "profiling")),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase; votes are made of answers that are there."""
        return random_search(sizes, candidates_of(sizes.effort), own_demos_of(sizes.effort))

    def runs_per_answer(self, _effort: Effort) -> Interval:
        """Runs of the program for one answer of the result."""
        return Interval(1, max(_SIZES))

    def improve(self, search: Search) -> dspy.Module:
        """The best of the vote of some and the best one alone, on the validation set."""
        members = _searched(search)
        votes = [Ensemble(members[:size]) for size in _SIZES if size <= len(members)]
        return best_of([members[0], *votes], search)


def _searched(search: Search) -> list[dspy.Module]:
    """All different programs of a random search, the best on the validation set first."""
    found = searched_demos(search)
    # By their states: DSPy marks its programs compiled, which hides their predictors inside another.
    states = [clean_state(each["program"]) for each in found.candidate_programs]
    different = {digest(state): state for state in states}
    return [with_state(search.student, state) for state in different.values()]
