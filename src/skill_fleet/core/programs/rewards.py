"""Rewards by name: what judges an answer where no expected one is known."""

import inspect
from pathlib import Path

from skill_fleet.core.dspy.attempts import Reward
from skill_fleet.core.programs.catalog import import_object
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UsageError

# By name, like people's own: the maker of skills and their judge do not import each other.
SKILL_REWARD = "skill_fleet.evaluation.reward:skill_reward"
"""The reward of the built-in program: the guard's quality of what it wrote."""

_FIRST = frozenset({"args", "inputs", "kwargs", "arguments"})


def find_reward(reference: str, *, search: Path | None = None) -> Reward:
    """The function that `module:function` names.

    The name may come from a file, so nothing is called but a plain function that says it is a reward: of the
    module named, with two parameters of which the first is called `args` (or `inputs`).

    Args:
        reference: `module:function`.
        search: A directory in which modules are looked up before the installed ones.

    Raises:
        UsageError: It cannot be used; the sentence says why.
    """
    found = import_object(reference, "reward", search)
    if not inspect.isfunction(found) or found.__module__ != reference.partition(":")[0]:
        raise UsageError(f"--reward '{reference}' is not a function of that module.")
    parameters = list(inspect.signature(found).parameters.values())
    positional = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    required = [one for one in parameters if one.default is one.empty]
    fits = len(positional) >= 2 and len(required) <= 2 and positional[0].name in _FIRST
    if not fits or any(one not in positional[:2] for one in required):
        raise UsageError(
            f"--reward '{reference}' does not take (args, pred).",
            hint="A reward is a function (args, pred) -> a number in [0, 1]; args are the inputs, by name.",
        )
    return found


def reward_digest(reference: str, *, search: Path | None = None) -> str:
    """A digest of what a reward computes: the source of its module.

    Raises:
        UsageError: It cannot be used.
    """
    function = find_reward(reference, search=search)
    try:
        return digest([reference, inspect.getsource(inspect.getmodule(function) or function)])
    except (OSError, TypeError):
        return digest([reference])
