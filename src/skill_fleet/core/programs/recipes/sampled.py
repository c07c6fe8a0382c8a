"""One program that answers several times, and the answer that a reward prefers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.core.dspy.advice import Hinting, advise
from skill_fleet.core.dspy.attempts import MOST, Attempt, Reward, attempts, best_of
from skill_fleet.core.programs.recipes.recipe import Recipe, whole_number
from skill_fleet.core.programs.rewards import find_reward
from skill_fleet.foundation.errors import DataError


def refined(program: dspy.Module, n: int, reward: Reward, inputs: Mapping[str, Any]) -> Iterator[Attempt]:
    """Up to `n` attempts, each after the first with advice on the one before: see `attempts`."""
    return attempts(program, n, reward, inputs, adviser=partial(advise, program, reward), hinting=Hinting)


Maker = Callable[[dspy.Module, int, Reward, Mapping[str, Any]], Iterator[Attempt]]
_MAKERS: Mapping[str, Maker] = {"best_of_n": attempts, "refine": refined}


class Sampled(Recipe):
    """A program that answers up to `n` times; the answer of highest reward is its own.

    Args:
        kind: `best_of_n`, or `refine`: the model reads how an answer went, and advises the next one.
        member: The program.
        n: Answers, most.
        reward: `module:function`, `(args, pred)` -> a number in [0, 1].
        search: Where modules are looked up before the installed ones.

    Raises:
        UsageError: The reward cannot be used.
    """

    def __init__(
        self, kind: str, member: dspy.Module, *, n: int, reward: str, search: Path | None = None
    ) -> None:
        super().__init__(kind, {"n": n, "reward": reward}, [member], runs_per_answer=n)
        self._make = _MAKERS[kind]
        self._reward = find_reward(reward, search=search)

    def forward(self, **inputs: Any) -> Any:
        """The best answer.

        Raises:
            MetricError: The reward broke.
        """
        return best_of(self._make(self.members[0], self.recipe["n"], self._reward, inputs)).prediction


def sampled(parameters: Mapping[str, Any], members: Sequence[dspy.Module], search: Path | None) -> Sampled:
    """The program a recipe of one of these kinds describes.

    Raises:
        DataError: It describes none.
        UsageError: Its reward cannot be used.
    """
    kind, reward = str(parameters["kind"]), parameters.get("reward")
    if len(members) != 1 or not isinstance(reward, str):
        raise DataError(f"The recipe {kind} has one member and the name of a 'reward'.")
    n = whole_number(parameters, "n", MOST)
    return Sampled(kind, members[0], n=n, reward=reward, search=search)
