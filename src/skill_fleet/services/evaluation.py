"""How good skills are, by their text alone."""

import math
from collections.abc import Sequence
from typing import Any

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check
from skill_fleet.evaluation.guard import guard
from skill_fleet.services.context import Context
from skill_fleet.services.findings import finding_json
from skill_fleet.services.targets import skill_files


def evaluate_skills(context: Context, targets: Sequence[str]) -> dict[str, Any]:
    """The guard's score of each skill: a floor computed from its text alone, no model involved.

    Args:
        context: Where the library is.
        targets: As for `skill_files`.

    Returns:
        `skills` (`path`, `name`, `quality`, `parts`, `feedback`, `findings`), `mean`, `thresholds`.

    Raises:
        NotFound: A target is not there.
        StorageError: A skill cannot be read.
    """
    skills: list[dict[str, Any]] = []
    for file in skill_files(context, targets):
        skill = Skill.read(file)
        score = guard(skill)
        skills.append(
            {
                "path": context.workspace.relative(file),
                "name": skill.name,
                "quality": score.value,
                "parts": dict(score.parts),
                "feedback": score.feedback,
                "findings": [finding_json(found) for found in check(skill, folder=file.parent)],
            }
        )
    return {
        "skills": skills,
        "mean": math.fsum(one["quality"] for one in skills) / len(skills),
        "thresholds": context.settings.evaluation.thresholds.model_dump(),
    }
