"""Skills for people: what was created, how good they are, what is wrong with them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import count, dollars, score
from skill_fleet.cli.tables import facts, group, words

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


def shown_creation(value: Mapping[str, Any]) -> "RenderableType":
    """A skill that was created."""
    parts = ", ".join(f"{name} {score(part)}" for name, part in value["parts"].items())
    calls = value["calls"]
    pairs = [
        ("skill", value["path"]),
        ("name", value["name"]),
        ("taxonomy", value["taxonomy_path"]),
        ("description", value["description"]),
        ("quality", f"{score(value['quality'])} ({parts})"),
    ]
    if len(value["drafts"]) > 1:
        pairs.append(("drafts", ", ".join(map(score, value["drafts"]))))
    replayed = f", {count(calls['from_journal'])} answered by the journal" if calls["from_journal"] else ""
    pairs.append(("cost", f"{dollars(value['usd'])} ({count(calls['made'])} calls{replayed})"))
    notice = None
    if value["simulated"]:
        notice = words("\nSIMULATED: written by a rule-based simulator, not by a language model.", "magenta")
    return group(facts(pairs), *(shown_finding(found) for found in value["findings"]), notice)


def shown_finding(found: Mapping[str, Any], indent: str = "") -> "Text":
    """A finding on one line."""
    said = " ".join(part for part in (found["message"], found["hint"]) if part)
    style = _STYLES[found["severity"]]
    return words(f"{indent}{found['severity']} line {found['line']} {found['code']}: {said}", style)
