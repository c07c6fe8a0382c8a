"""The training set and the library."""

from collections.abc import Iterator

from skill_fleet.domain.library import Library
from skill_fleet.domain.trainset import load_trainset
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check


def data(context: Context) -> Iterator[Check]:
    """How much there is to train on, and how many skills."""
    try:
        trainset = load_trainset(context.workspace.trainset)
        yield Check("training set", "ok", f"{context.workspace.trainset}: {len(trainset.items)} examples.")
    except SkillFleetError as error:
        yield Check("training set", "error", error.message, error.hint)
    try:
        skills = sum(1 for _ in Library(context.workspace.skills).files())
        yield Check("library", "ok", f"{context.workspace.skills}: {skills} skills.")
    except SkillFleetError as error:
        yield Check("library", "error", error.message, error.hint)
