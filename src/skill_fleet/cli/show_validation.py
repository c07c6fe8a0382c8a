"""Findings for people: by rule, the worst first, each with where it applies."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import several
from skill_fleet.cli.show_skills import STYLES
from skill_fleet.cli.tables import group, words

if TYPE_CHECKING:
    from rich.console import RenderableType

_PLACES = 5
_RANK = {"error": 0, "warning": 1, "info": 2}


def shown_validation(skills: Sequence[Mapping[str, Any]], profile: str) -> "RenderableType":
    """The findings of many skills."""
    places: defaultdict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for skill in skills:
        for found in skill["findings"]:
            places[found["severity"], found["code"]].append((skill["path"], found))
    order = sorted(places, key=lambda rule: (_RANK[rule[0]], -len(places[rule]), rule[1]))
    parts = [part for rule in order for part in _rule(rule, places[rule])]
    return group(*parts, words(_summary(skills, profile), "bold"))


def _rule(rule: tuple[str, str], where: Sequence[tuple[str, Mapping[str, Any]]]) -> list["RenderableType"]:
    severity, code = rule
    times = f" ({len(where)} times)" if len(where) > 1 else ""
    shown: list[RenderableType] = [words(f"{severity} {code}{times}", STYLES[severity])]
    for path, found in where[:_PLACES]:
        said = " ".join(part for part in (found["message"], _hint(found, where)) if part)
        shown.append(words(f"  {path}:{found['line']}  {said}"))
    if len(where) > _PLACES:
        shown.append(words(f"  … and {len(where) - _PLACES} more: --json lists all", "dim"))
    return [*shown, words("")]


def _hint(found: Mapping[str, Any], where: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """A rule's advice, once."""
    return str(found["hint"]) if found is where[0][1] else ""


def _summary(skills: Sequence[Mapping[str, Any]], profile: str) -> str:
    valid = sum(skill["valid"] for skill in skills)
    counts = {
        severity: sum(found["severity"] == severity for skill in skills for found in skill["findings"])
        for severity in _RANK
    }
    said = ", ".join(several(number, severity) for severity, number in counts.items() if number)
    return (
        f"Valid: {valid} of {several(len(skills), 'skill')} (profile {profile}). {said or 'Nothing to say'}."
    )
