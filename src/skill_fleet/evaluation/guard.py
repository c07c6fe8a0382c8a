"""The guard: a floor under the quality of a skill, computed from its text alone.

It tells real skills from junk, from a description over another skill's body, from descriptions that fit
everything, and from shuffled words. It does not rank the good against the mediocre, and does not see reversed
meaning or a text cut in half: never the only objective. No phrase is rewarded.
"""

from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.promise import TERMS_IN_TEXT, grounding, spoken, trigger
from skill_fleet.evaluation.reading import read
from skill_fleet.evaluation.scale import Part
from skill_fleet.evaluation.score import Score
from skill_fleet.evaluation.writing import coherence, cost, integrity, substance

__all__ = ["ESSENTIAL", "MEAN_SHARE", "TERMS_IN_TEXT", "WEIGHTS", "guard"]

WEIGHTS = {
    "trigger": 0.18,
    "grounding": 0.22,
    "substance": 0.22,
    "coherence": 0.18,
    "integrity": 0.12,
    "cost": 0.08,
}
ESSENTIAL = ("trigger", "grounding", "substance", "coherence")
MEAN_SHARE = 0.7
_TASK_SHARE = 0.35


def guard(skill: Skill, task: str = "") -> Score:
    """The guard's score: 0.7 of the weighted mean of all parts and 0.3 of the weakest essential one.

    Args:
        skill: Any skill, however broken.
        task: What the skill was asked for; where given, 0.35 of grounding is that the body speaks of it, and
            `by_part` says under `terms` what it leaves out.
    """
    reading = read(skill)
    parts = {
        "trigger": trigger(reading),
        "grounding": grounding(reading),
        "substance": substance(reading),
        "coherence": coherence(reading),
        "integrity": integrity(reading, skill),
        "cost": cost(reading),
    }
    terms = spoken(reading, task) if task else None
    if terms is not None:
        kept = parts["grounding"]
        parts["grounding"] = Part((1.0 - _TASK_SHARE) * kept.value + _TASK_SHARE * terms.value, kept.notes)
    mean = sum(WEIGHTS[name] * part.value for name, part in parts.items())
    weakest = min(parts[name].value for name in ESSENTIAL)
    by_part = {name: " ".join(part.notes) for name, part in parts.items() if part.notes}
    if terms is not None and terms.notes:
        by_part["terms"] = terms.notes[0]
    first = sorted(by_part, key=lambda name: -_loss(parts, name))
    return Score(
        value=min(1.0, MEAN_SHARE * mean + (1.0 - MEAN_SHARE) * weakest),
        parts={name: part.value for name, part in parts.items()},
        feedback=" ".join(by_part[name] for name in first),
        by_part=by_part,
    )


def _loss(parts: dict[str, Part], name: str) -> float:
    part = "grounding" if name == "terms" else name
    return WEIGHTS[part] * (1.0 - parts[part].value)
