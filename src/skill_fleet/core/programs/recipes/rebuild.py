"""From a state to a program, be it an ordinary one or a recipe."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.core.programs.recipes.nearest import nearest_demos
from skill_fleet.core.programs.recipes.recipe import Recipe, is_recipe
from skill_fleet.core.programs.recipes.sampled import sampled
from skill_fleet.core.programs.recipes.voting import ensemble
from skill_fleet.core.programs.rewards import reward_digest
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import DataError

Kind = Callable[[Mapping[str, Any], Sequence[dspy.Module], Path | None], Recipe]

KINDS: Mapping[str, Kind] = {
    "knn_few_shot": nearest_demos,
    "ensemble": ensemble,
    "best_of_n": sampled,
    "refine": sampled,
}
"""The kinds of recipe there are: closed, so that a file can name nothing else."""

_MOST_MEMBERS = 64


def with_state(program: dspy.Module, state: Mapping[str, Any], *, search: Path | None = None) -> dspy.Module:
    """A program in a state: a copy of an ordinary one, or the recipe that the state describes.

    Args:
        program: An ordinary program, which is left as it is.
        state: As `dump_state` of either gives it.
        search: Where a recipe's reward is looked up before the installed modules.

    Raises:
        DataError: It describes no recipe there is.
        UsageError: The recipe's reward cannot be used.
    """
    if is_recipe(state):
        return rebuild(state, program.deepcopy, search=search)
    copy = program.deepcopy()
    copy.load_state(dict(state))
    return copy


def code_digest(source: str, program: dspy.Module, *, search: Path | None = None) -> str:
    """A digest of all code that a program's answers rest on.

    Args:
        source: `source_digest` of the ordinary program.
        program: That one, or a recipe of it, whose reward counts too.
        search: Where the reward is looked up before the installed modules.

    Raises:
        UsageError: The reward cannot be used.
    """
    reward = program.recipe.get("reward") if isinstance(program, Recipe) else None
    return source if reward is None else digest([source, reward_digest(reward, search=search)])


def rebuild(
    state: Mapping[str, Any], build: Callable[[], dspy.Module], *, search: Path | None = None
) -> Recipe:
    """The recipe that a state describes, around fresh programs in the states of its members.

    Args:
        state: `{"recipe": {"kind": …, …}, "members": [state, …]}`.
        build: Makes a fresh ordinary program.
        search: Where a reward is looked up before the installed modules.

    Raises:
        DataError: It describes no recipe there is.
        UsageError: Its reward cannot be used.
    """
    recipe, states = state["recipe"], state["members"]
    kind = recipe.get("kind") if isinstance(recipe, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"There is no recipe of the kind {kind!r}; there are {', '.join(KINDS)}.")
    if not 1 <= len(states) <= _MOST_MEMBERS or not all(isinstance(one, Mapping) for one in states):
        raise DataError(f"A recipe has 1 to {_MOST_MEMBERS} members, each the state of a program.")
    members = []
    for one in states:
        member = build()
        member.load_state(dict(one))
        members.append(member)
    return KINDS[kind](recipe, members, search)
