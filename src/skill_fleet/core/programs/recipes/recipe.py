"""What a recipe is: an ordinary program, or several, and a way to run them that is data."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from skill_fleet.foundation.errors import DataError, UsageError


class Recipe(dspy.Module):
    """A program that runs its members in a way that a few values describe.

    Its state is `{"recipe": {"kind": …, …}, "members": [state, …]}`: JSON, nothing executable. DSPy cannot
    load it into the plain program; `rebuild.with_state` makes the whole of it again.

    Args:
        kind: What is done with the members.
        parameters: How, as JSON values.
        members: Ordinary programs, of one class.
        runs_per_answer: Runs of a member that one answer takes, most.

    Raises:
        UsageError: A member is a recipe, or there is none.
    """

    def __init__(
        self,
        kind: str,
        parameters: Mapping[str, Any],
        members: Sequence[dspy.Module],
        *,
        runs_per_answer: int = 1,
    ) -> None:
        super().__init__()
        if not members or any(isinstance(member, Recipe) for member in members):
            raise UsageError(f"The members of a recipe ({kind}) are ordinary programs.")
        self.recipe = {"kind": kind, **parameters}
        self.members = list(members)
        self.runs_per_answer = runs_per_answer

    @property
    def kind(self) -> str:
        """What is done with the members."""
        return str(self.recipe["kind"])

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - DSPy's signature
        """The recipe and the states of its members; DSPy's `save` writes it too."""
        return {
            "recipe": copy.deepcopy(self.recipe),
            "members": [member.dump_state(json_mode=json_mode) for member in self.members],
        }

    def load_state(self, state: Mapping[str, Any], **_options: Any) -> None:
        """Load the members' states; the recipe is this one, since DSPy's `load` knows no other.

        Raises:
            DataError: It is the state of something else.
        """
        states = members_in(state)
        if not is_recipe(state) or state["recipe"] != self.recipe or len(states) != len(self.members):
            raise DataError(
                f"The state is not that of this recipe ({self.kind}).",
                hint="Use `load_artifact` or `with_state`.",
            )
        for member, part in zip(self.members, states, strict=True):
            member.load_state(part)


def is_recipe(state: Any) -> bool:
    """Whether a program's state is that of a recipe; an ordinary one has a predictor under every key."""
    return isinstance(state, Mapping) and isinstance(state.get("members"), list) and "recipe" in state


def members_in(state: Mapping[str, Any]) -> list[Any]:
    """The states of ordinary programs in a state: those of a recipe's members, or itself."""
    return list(state["members"]) if is_recipe(state) else [state]


def members_of(program: dspy.Module) -> list[dspy.Module]:
    """The ordinary programs in a program: a recipe's members, or itself."""
    return list(program.members) if isinstance(program, Recipe) else [program]


def instructions_of(program: dspy.Module) -> dict[str, str]:
    """Instructions by predictor; where the members of a recipe differ, by `1: NAME` and so on."""
    texts: dict[str, list[str]] = {}
    for member in members_of(program):
        for name, predictor in member.named_predictors():
            texts.setdefault(name, []).append(predictor.signature.instructions)
    found: dict[str, str] = {}
    for name, said in texts.items():
        alike = len(set(said)) == 1
        found |= {name: said[0]} if alike else {f"{i}: {name}": text for i, text in enumerate(said, start=1)}
    return found


def runs_per_answer(program: dspy.Module) -> int:
    """Runs of the ordinary program that one answer takes, most."""
    return program.runs_per_answer if isinstance(program, Recipe) else 1


def whole_number(parameters: Mapping[str, Any], name: str, most: int) -> int:
    """A parameter of a recipe that counts something.

    Raises:
        DataError: It is not a whole number from 1 to `most`.
    """
    value = parameters.get(name)
    if type(value) is not int or not 1 <= value <= most:
        raise DataError(f"The recipe's '{name}' is {value!r}, not a whole number from 1 to {most}.")
    return value
