"""Several answers and the one a reward prefers (`dspy.BestOfN`), as a program to be measured."""

from collections.abc import Mapping

import dspy

from skill_fleet.optimization.attempting import numbers_of, reward_parameters, sampled_programs
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Sizes
from skill_fleet.optimization.search import Effort, Search
from skill_fleet.optimization.spending import more_answers


class BestOfNAnswers:
    """The student, asked up to n times; the validation set chooses n.

    Nothing is learnt: what is measured is whether more answers are worth their price. Attempts are drawn by
    rollouts of their own, so a seed decides nothing.
    """

    info = OptimizerInfo(
        name="best_of_n",
        description="Asks the program several times and keeps the answer that a reward prefers.",
        changes=("inference",),
        needs="A reward that tells good answers without knowing the right one; answers that vary.",
        cost="Low to find, and then for good: an answer takes up to n runs of the program instead of 1.",
        parameters=reward_parameters(),
        capabilities=Capabilities(seeded=False, learns=False, modules=False),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase; the first answer of each is that of the baseline."""
        most = max(numbers_of(sizes.effort))
        return {"evaluation": more_answers(most, sizes)}

    def runs_per_answer(self, effort: Effort) -> Interval:
        """Runs of the program for one answer of the result: a good one ends the asking."""
        return Interval(1, max(numbers_of(effort)))

    def improve(self, search: Search) -> dspy.Module:
        """The n that is best on the validation set; of equals the smallest."""
        return best_of(sampled_programs("best_of_n", search), search)
