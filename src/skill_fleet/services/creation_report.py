"""The report of a job that wrote a skill, as Markdown."""

from collections.abc import Mapping
from typing import Any

from skill_fleet.llm.calls.bill import paid

_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|#!"})


def creation_report(result: Mapping[str, Any]) -> str:
    """What was written, how good it is, what to know about it, and what it took.

    Args:
        result: As `create_skill` gives it.
    """
    lines = [
        f"# Skill {_plain(result['name'])}",
        "",
        *_notice(result),
        _plain(result["description"]),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in _facts(result)),
        "",
        "## Quality",
        "",
        f"The guard of the text gives {result['quality']:.3f} (of 1).",
        "",
        "| part | |",
        "|---|---|",
        *(f"| {_plain(name)} | {value:.3f} |" for name, value in result["parts"].items()),
        "",
        "## Findings",
        "",
        *_findings(result["findings"]),
    ]
    return "\n".join(lines) + "\n"


def _notice(result: Mapping[str, Any]) -> list[str]:
    said = []
    if result["simulated"]:
        said += ["> The built-in simulator answered: this says nothing about a real model.", ""]
    if result["error"]:
        said += [f"> Fewer drafts were made than asked for: {_plain(result['error']['message'])}", ""]
    return said


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("file", _plain(result["path"])),
        ("taxonomy path", _plain(result["taxonomy_path"])),
        ("drafts", ", ".join(f"{quality:.3f}" for quality in result["drafts"])),
        ("program", _plain(result["program"])),
        ("model", _plain(result["model"])),
        ("calls", str(result["calls"]["made"])),
        ("cost", paid(result, lambda usd: f"${usd:.4f}")),
    ]


def _findings(findings: list[Mapping[str, Any]]) -> list[str]:
    if not findings:
        return ["None."]
    return [
        f"- {found['severity']}, line {found['line']}: {_plain(found['message'] + ' ' + found['hint'])}"
        for found in findings
    ]


def _plain(text: Any) -> str:
    """What a model or a client wrote, as text in one line: nothing in it is markup."""
    return " ".join(str(text).split()).translate(_MARKUP)
