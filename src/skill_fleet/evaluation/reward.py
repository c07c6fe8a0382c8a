"""The quality of a written skill where no expected one is known: a reward for `best_of_n` and `refine`."""

from collections.abc import Mapping
from typing import Any

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid
from skill_fleet.evaluation.guard import guard

_VALID = 0.5


def skill_reward(args: Mapping[str, Any], pred: Any) -> float:
    """How good the SKILL.md in `pred.skill_content` is for the task in `args`, in [0, 1].

    A valid skill is worth more than any that breaks the specification (frontmatter with name and description,
    a body). Beyond that it is worth more when the description says what the skill does and when to use it,
    the body keeps every promise of the description and speaks of every term of the task, every section names
    concrete steps, commands or decisions in whole sentences, and nothing is a placeholder or padding.
    """
    skill = Skill.parse(str(getattr(pred, "skill_content", "") or ""))
    quality = guard(skill, str(args.get("task_description") or "")).value
    return (1.0 - _VALID) * quality + _VALID * is_valid(check(skill))
