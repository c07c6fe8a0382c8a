"""What there is, for people: optimizers, settings, checks."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def shown_optimizers(found: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """Every optimizer with its parameters."""
    parts: list[RenderableType] = []
    for one in found:
        default = " (default)" if one["default"] else ""
        foreign = "" if one["package"] == "skill-fleet" else f" ({one['package']} {one['version']})"
        parts += [
            words(f"{one['name']}{default}{foreign}", "bold"),
            words(one["description"]),
            facts((("changes", ", ".join(one["changes"])), ("needs", one["needs"]), ("cost", one["cost"]))),
            rows(
                ("!option", "default", "range", "meaning"),
                [
                    (
                        f"--{parameter['name'].replace('_', '-')}",
                        "–" if parameter["default"] is None else parameter["default"],
                        parameter["range"],
                        parameter["meaning"],
                    )
                    for parameter in one["parameters"]
                ],
            ),
            words(""),
        ]
    return group(*parts[:-1])


def shown_settings(found: Sequence[Mapping[str, Any]], *, origin: bool) -> "RenderableType":
    """Every setting."""
    lines = [(one["key"], json.dumps(one["value"], ensure_ascii=False), one["origin"]) for one in found]
    if origin:
        return rows(("key", "value", "from"), lines)
    return facts((key, value) for key, value, _ in lines)


def shown_checks(found: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """What was looked at."""
    lines = []
    for check in found:
        said = " ".join(part for part in (check["message"], check["hint"]) if part)
        lines.append((words(check["status"], _STYLES[check["status"]]), check["name"], said))
    return rows(("!status", "!what", "found"), lines)
