"""Skills for people: what was created, how good they are, what is wrong with them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import count, dollars, score, several
from skill_fleet.cli.tables import facts, group, rows, words
from skill_fleet.llm.calls.bill import paid

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_LEVELS = {"acceptable": "acceptable", "target": "on target", "excellent": "excellent"}
STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


def shown_creation(value: Mapping[str, Any], *, elsewhere: str = "") -> "RenderableType":
    """A skill that was created.

    Args:
        value: The JSON result.
        elsewhere: Where its file is, in words; empty where it is here.
    """
    parts = ", ".join(f"{name} {score(part)}" for name, part in value["parts"].items())
    calls = value["calls"]
    pairs = [
        ("skill", f"{value['path']} ({elsewhere})" if elsewhere else value["path"]),
        ("name", value["name"]),
        ("taxonomy", value["taxonomy_path"]),
        ("description", value["description"]),
        ("quality", f"{score(value['quality'])} ({parts})"),
    ]
    if len(value["drafts"]) > 1:
        pairs.append(("drafts", ", ".join(map(score, value["drafts"]))))
    replayed = f", {count(calls['from_journal'])} answered by the journal" if calls["from_journal"] else ""
    pairs.append(("cost", paid(value, dollars, f"{count(calls['made'])} calls{replayed}")))
    notice = None
    if value["simulated"]:
        notice = words("\nSIMULATED: written by a rule-based simulator, not by a language model.", "magenta")
    notes = [words(f"! {note}", "yellow") for note in value["notes"]]
    return group(facts(pairs), *(shown_finding(found) for found in value["findings"]), *notes, notice)


def shown_evaluation(value: Mapping[str, Any], *, wide: bool) -> "RenderableType":
    """The guard's scores of skills."""
    skills = value["skills"]
    if len(skills) == 1:
        return _one(skills[0])
    parts = list(skills[0]["parts"])
    names, below = _short([one["path"] for one in skills])
    if wide:
        headings = ["skill", "quality", *parts, "findings"]
        lines = [
            [name, score(one["quality"]), *(score(one["parts"][name]) for name in parts), _counts(one)]
            for name, one in zip(names, skills, strict=True)
        ]
    else:
        headings = ["skill", "quality", "weakest part", "findings"]
        lines = [
            [name, score(one["quality"]), _weakest(one), _counts(one)]
            for name, one in zip(names, skills, strict=True)
        ]
    thresholds = value["thresholds"]
    reached = ", ".join(
        f"{sum(one['quality'] >= least for one in skills)} {_LEVELS[name]} (from {least:g})"
        for name, least in thresholds.items()
    )
    summary = f"\n{len(skills)} skills in {below}, mean quality {score(value['mean'])}: {reached}."
    return group(rows(headings, lines, right=("quality", *parts)), words(summary, "bold"))


def _short(paths: Sequence[str]) -> tuple[list[str], str]:
    """The folders of skills without what all have in common, and that."""
    folders = [str(PurePath(path).parent) for path in paths]
    mixed = len({PurePath(folder).is_absolute() for folder in folders}) > 1
    if mixed:
        return folders, "several places"
    below = os.path.commonpath(folders) or "."
    return [str(PurePath(folder).relative_to(below)) for folder in folders], below


def _one(one: Mapping[str, Any]) -> "RenderableType":
    pairs = [
        ("skill", one["path"]),
        ("quality", score(one["quality"])),
        *((name, score(part)) for name, part in one["parts"].items()),
    ]
    if one["feedback"]:
        pairs.append(("to do", one["feedback"]))
    return group(facts(pairs), *(shown_finding(found) for found in one["findings"]))


def _weakest(one: Mapping[str, Any]) -> str:
    name = min(one["parts"], key=lambda part: one["parts"][part])
    return f"{name} {score(one['parts'][name])}"


def _counts(one: Mapping[str, Any]) -> str:
    severities = [found["severity"] for found in one["findings"]]
    counts = {name: severities.count(name) for name in ("error", "warning")}
    return ", ".join(several(number, name) for name, number in counts.items() if number) or "–"


def shown_finding(found: Mapping[str, Any], indent: str = "") -> "Text":
    """A finding on one line."""
    said = " ".join(part for part in (found["message"], found["hint"]) if part)
    style = STYLES[found["severity"]]
    return words(f"{indent}{found['severity']} line {found['line']} {found['code']}: {said}", style)
