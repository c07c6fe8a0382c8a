"""Several optimized versions of one program that vote (`dspy.Ensemble` with `dspy.majority`)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
from dspy.predict.aggregation import default_normalize

from skill_fleet.core.dspy.attempts import of_provider
from skill_fleet.core.programs.recipes.recipe import Recipe


class Ensemble(Recipe):
    """A program whose members all answer; the most frequent value of the last output field wins.

    Of equally frequent ones the first member's wins, so members stand in order of quality, and over free text
    it is always the first. DSPy's `Ensemble` draws members without a seed when it takes a part of them, and
    fails when one member does: here all of them vote, and a member whose answer cannot be read does not.

    Args:
        members: The best first.
    """

    def __init__(self, members: Sequence[dspy.Module]) -> None:
        super().__init__("ensemble", {}, members, runs_per_answer=len(members))

    def forward(self, **inputs: Any) -> Any:
        """The prediction most members agree on.

        Raises:
            LMError: A member's model call failed for good.
            Exception: No member's answer could be read; the error of the first.
        """
        answers = []
        failure: Exception | None = None
        for member in self.members:
            try:
                answers.append(member(**inputs))
            except Exception as error:
                if of_provider(error):
                    raise
                failure = failure or error
        if failure is not None and not answers:
            raise failure
        return dspy.majority(answers, normalize=_comparable)


def ensemble(
    _parameters: Mapping[str, Any], members: Sequence[dspy.Module], _search: Path | None
) -> Ensemble:
    """The program a recipe of this kind describes."""
    return Ensemble(members)


def _comparable(value: Any) -> str | None:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return default_normalize(text)
