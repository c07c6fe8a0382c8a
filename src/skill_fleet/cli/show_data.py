"""Training sets for people."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.show_skills import STYLES
from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 5
_TOPICS = 12


def shown_build(value: Mapping[str, Any]) -> "RenderableType":
    """A training set that was made."""
    pairs = [
        ("written", value["output"]),
        ("examples", f"{value['examples']} in {value['groups']} groups"),
        ("skipped", f"{len(value['skipped'])} skills"),
    ]
    skipped = [words(f"  {one['source']}: {one['reason']}", "dim") for one in value["skipped"][:_SHOWN]]
    if len(value["skipped"]) > _SHOWN:
        skipped.append(words(f"  … and {len(value['skipped']) - _SHOWN} more: --json lists all", "dim"))
    return group(facts(pairs), *skipped, words(""), *_findings(value["findings"]))


def shown_lint(value: Mapping[str, Any]) -> "RenderableType":
    """What is wrong with a training set."""
    verdict = "usable" if value["valid"] else "not usable as it is"
    summary = f"{value['source']}: {value['examples']} examples, {verdict}."
    return group(*_findings(value["findings"]), words(summary, "bold"))


def shown_split(value: Mapping[str, Any]) -> "RenderableType":
    """The three parts."""
    lines = [
        (part, value[part]["examples"], value[part]["groups"], value[part]["file"])
        for part in ("train", "validation", "test")
    ]
    return rows(("part", "examples", "groups", "file"), lines, right=("examples", "groups"))


def shown_dataset(value: Mapping[str, Any]) -> "RenderableType":
    """What is in a training set."""
    independent = value["independent_groups"]
    pairs = [
        ("source", value["source"]),
        ("examples", f"{value['examples']} in {value['groups']} groups ({independent} independent)"),
        ("fields", ", ".join(f"{name} ({number})" for name, number in value["fields"].items())),
    ]
    if value["topics"]:
        pairs.append(("topics", _counted(value["topics"])))
    first = [words(f"  {one['id']}: {_gist(one)}") for one in value["first"]]
    return group(facts(pairs), words("\nThe first:", "bold"), *first)


def _counted(numbers: Mapping[str, int]) -> str:
    """The largest, and how many more there are."""
    named = [f"{name} ({number})" for name, number in list(numbers.items())[:_TOPICS]]
    more = len(numbers) - _TOPICS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _gist(item: Mapping[str, Any]) -> str:
    """The text of an item, one line of it."""
    texts = [str(value) for name, value in item.items() if name not in {"id", "group"}]
    text = " ".join(str(item.get("task_description") or " · ".join(texts)).split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _findings(found: Sequence[Mapping[str, Any]]) -> list["RenderableType"]:
    """Findings by code, a few of each."""
    by_code: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for one in found:
        by_code[one["severity"], one["code"]].append(one)
    shown: list[RenderableType] = []
    for (severity, code), several in by_code.items():
        times = f" ({len(several)} times)" if len(several) > 1 else ""
        shown.append(words(f"{severity} {code}{times}", STYLES[severity]))
        shown += [words(f"  {one['message']}") for one in several[:_SHOWN]]
        if several[0]["hint"]:
            shown.append(words(f"  {several[0]['hint']}", "dim"))
        if len(several) > _SHOWN:
            shown.append(words(f"  … and {len(several) - _SHOWN} more: --json lists all", "dim"))
        shown.append(words(""))
    return shown
