"""What the optimizers that answer several times share: how many times, and by which reward."""

import dspy

from skill_fleet.core.dspy.attempts import MOST
from skill_fleet.core.programs.recipes.sampled import Sampled
from skill_fleet.foundation.errors import UsageError
from skill_fleet.optimization.optimizer import Parameter
from skill_fleet.optimization.search import Effort, Search, uncompiled

_MOST = {"light": 3, "medium": 5, "heavy": 8}
_STEPS = (2, 3, 5, 8, 13, 21, 34)


def reward_parameters() -> tuple[Parameter, ...]:
    """The settings of such an optimizer."""
    return (
        Parameter("auto", "choice", "light", "light|medium|heavy", "up to 3, 5 or 8 answers"),
        Parameter("trials", "int", None, f"2-{MOST}", "answers, most; smaller numbers are tried on the way"),
        Parameter("reward", "module:function", None, "(args, pred) -> [0, 1]", "what prefers an answer"),
        Parameter("num_threads", "int", 8, "1-256", "examples under way at a time"),
    )


def numbers_of(effort: Effort) -> list[int]:
    """Numbers of answers to try, ascending. The attempts of one are the first of the next: paid once."""
    most = effort.trials if effort.trials is not None else _MOST[effort.auto or "light"]
    most = min(MOST, max(2, most))
    return [*(step for step in _STEPS if step < most), most]


def sampled_programs(kind: str, search: Search) -> list[dspy.Module]:
    """The student asked several times, for each number to try.

    Raises:
        UsageError: There is no reward, or it cannot be used.
    """
    if search.reward is None:
        raise UsageError(f"{kind} needs a reward.", hint="--reward module:function.")
    return [
        Sampled(kind, uncompiled(search.student), n=number, reward=search.reward)
        for number in numbers_of(search.effort)
    ]
