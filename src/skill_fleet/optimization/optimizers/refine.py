"""Several answers, each with advice on the one before (`dspy.Refine`), as a program to be measured."""

from collections.abc import Mapping

import dspy

from skill_fleet.optimization.attempting import numbers_of, reward_parameters, sampled_programs
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Sizes
from skill_fleet.optimization.search import Search


class RefinedAnswers:
    """The student, asked up to n times with advice in between; the validation set chooses n.

    Nothing is learnt beforehand: what is measured is whether second thoughts are worth their price.
    """

    info = OptimizerInfo(
        name="refine",
        description="Asks the program again with the model's advice on its last answer; a reward chooses.",
        changes=("inference",),
        needs="A reward that tells good answers without knowing the right one, in code a model can read.",
        cost="Low to find, and then for good: an answer takes up to n runs and n-1 calls for advice.",
        parameters=reward_parameters(),
        capabilities=Capabilities(seeded=False, learns=False, modules=False),
    )

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase; the first answer of each is that of the baseline."""
        most = max(numbers_of(sizes.effort))
        runs = Interval(0, most * sizes.validation).times(sizes.calls_per_run)
        # Advice that cannot be read is asked for a second time in JSON.
        return {"evaluation": runs.plus(Interval(0, 2 * (most - 1) * sizes.validation))}

    def improve(self, search: Search) -> dspy.Module:
        """The n that is best on the validation set; of equals the smallest."""
        return best_of(sampled_programs("refine", search), search)
