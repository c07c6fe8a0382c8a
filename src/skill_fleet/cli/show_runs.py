"""Runs for people: the list, and one that has no result yet."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, dollars, score
from skill_fleet.cli.show_run import shown_result
from skill_fleet.cli.tables import facts, rows

if TYPE_CHECKING:
    from rich.console import RenderableType


def shown_runs(runs: Sequence[Mapping[str, Any]]) -> "RenderableType":
    """All runs."""
    lines = [
        (
            run["run_id"],
            run["status"],
            f"{score(run['baseline'])} → {score(run['optimized'])}",
            UNKNOWN if run["optimized"] is None else run["verdict"] or UNKNOWN,
            UNKNOWN if run["seconds"] is None else dollars(run["usd"]),
            run["optimizer"],
        )
        for run in runs
    ]
    headings = ("!run", "!status", "!test quality", "!verdict", "cost", "optimizer")
    return rows(headings, lines, right=("cost",))


def shown_run(value: Mapping[str, Any]) -> "RenderableType":
    """One run."""
    if "request" not in value:
        return shown_result(value)
    request = value["request"]
    pairs = [
        ("run", value["run_id"]),
        ("status", value["status"]),
        ("program", request["program"]),
        ("optimizer", request["optimizer"]),
    ]
    if value["resume"]:
        pairs.append(("to go on", value["resume"]))
    return facts(pairs)
