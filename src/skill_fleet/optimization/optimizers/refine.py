"""Several answers, each with advice on the one before (`dspy.Refine`), as a program to be measured."""

from collections.abc import Mapping

import dspy

from skill_fleet.optimization.attempting import numbers_of, reward_parameters, sampled_programs
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.optimizer import Capabilities, Interval, OptimizerInfo, Sizes
from skill_fleet.optimization.search import Effort, Search
from skill_fleet.optimization.spending import ASKED_TWICE, more_answers


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
        # Each further answer comes with advice; what cannot be read is asked for a second time in JSON.
        advice = Interval(0.15, 1, ASKED_TWICE).scaled((most - 1) * sizes.validation)
        return {"evaluation": more_answers(most, sizes).plus(advice)}

    def runs_per_answer(self, effort: Effort) -> Interval:
        """Runs of the program, and advice, for one answer of the result: a good one ends the asking."""
        return Interval(1, 2 * max(numbers_of(effort)))

    def improve(self, search: Search) -> dspy.Module:
        """The n that is best on the validation set; of equals the smallest."""
        return best_of(sampled_programs("refine", search), search)
