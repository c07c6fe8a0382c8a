"""How good skills are, and how good a program is that writes them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check
from skill_fleet.services.context import Context
from skill_fleet.services.findings import finding_json
from skill_fleet.services.targets import skill_files

if TYPE_CHECKING:
    from skill_fleet.evaluation.measurement import Measurement
    from skill_fleet.llm.budget import Limits
    from skill_fleet.optimization.session import Control

OnDone = Callable[[int, int], None]


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
    from skill_fleet.evaluation.guard import guard

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


@dataclass(frozen=True)
class Measuring:
    """How a program is to be measured.

    Attributes:
        data: Examples; None is the workspace's training set.
        metric: `module:function`; None is the quality of a skill.
        model: In place of the configured one.
        num_threads: Examples under way at a time; None is the configured number.
        limits: Caps on it; None are the configured ones.
    """

    data: str | None = None
    metric: str | None = None
    model: str | None = None
    num_threads: int | None = None
    limits: "Limits | None" = None


def evaluate_program(
    context: Context,
    program: str,
    how: Measuring,
    *,
    control: "Control | None" = None,
    on_done: OnDone | None = None,
) -> dict[str, Any]:
    """A program on every example of a data set.

    Args:
        context: Settings and workspace.
        program: Its file, or the name of a program that is not optimized.
        how: With what.
        control: The user's hand on it.
        on_done: Told after each example: how many, of how many.

    Returns:
        `mean` and `pass_share` over the examples that have a score (null where none has), `parts` (their
        means), `excluded` with the reasons, `items`, and what it cost.

    Raises:
        SkillFleetError: Program, data, metric or model cannot be used, or most examples failed.
    """
    from skill_fleet.services.measuring import load_program, measure_programs

    loaded = load_program(context, program)
    measured = measure_programs(context, [loaded], how, control=control, on_done=on_done)
    found = measured.found[0]
    threshold = context.settings.evaluation.thresholds.target
    return {
        "program": loaded.label,
        "data": measured.data,
        "metric": measured.metric,
        "model": measured.model,
        "simulated": measured.simulated,
        "notes": list(loaded.notes),
        "examples": len(found.outcomes),
        "mean": found.mean,
        "pass_share": found.pass_share(threshold),
        "threshold": threshold,
        "parts": _parts(found),
        "excluded": _excluded(found),
        "items": [
            {"id": one.item_id, "group": one.group, "score": one.score.value if one.score else None}
            for one in found.outcomes
        ],
        **measured.costs,
    }


def _parts(found: "Measurement") -> dict[str, float]:
    """The mean of every part over the examples that have it."""
    values: dict[str, list[float]] = {}
    for one in found.outcomes:
        parts: Mapping[str, float] = one.score.parts if one.score else {}
        for name, value in parts.items():
            values.setdefault(name, []).append(value)
    return {name: math.fsum(numbers) / len(numbers) for name, numbers in values.items()}


def _excluded(found: "Measurement") -> list[dict[str, str]]:
    return [
        {"id": one.item_id, "reason": one.no_score.reason, "message": one.no_score.message}
        for one in found.excluded
        if one.no_score is not None
    ]
