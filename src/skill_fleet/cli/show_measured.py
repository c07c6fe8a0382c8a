"""Measured programs for people: one, or two compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import count, dollars, score, share
from skill_fleet.cli.show_run import SIMULATED, VERDICTS
from skill_fleet.cli.tables import facts, group, rows, words

if TYPE_CHECKING:
    from rich.console import RenderableType

_EXCLUDED = 5


def shown_program(value: Mapping[str, Any]) -> "RenderableType":
    """A program on a data set."""
    scored = value["examples"] - len(value["excluded"])
    pairs = [
        ("program", value["program"]),
        ("data", f"{value['data']} ({value['examples']} examples, {scored} scored)"),
        ("quality", f"{score(value['mean'])} ({value['metric']})"),
        ("on target", f"{share(value['pass_share'])} reach {value['threshold']:g}"),
        ("parts", ", ".join(f"{name} {score(part)}" for name, part in value["parts"].items()) or "–"),
        ("model", value["model"]),
        ("cost", _cost(value)),
    ]
    left_out = [
        words(f"! no score: {one['id']}: {one['message']}", "yellow") for one in value["excluded"][:_EXCLUDED]
    ]
    if len(value["excluded"]) > _EXCLUDED:
        left_out.append(
            words(f"! … and {len(value['excluded']) - _EXCLUDED} more: --json lists all", "yellow")
        )
    notes = [words(f"! {note}", "yellow") for note in value["notes"]]
    return group(facts(pairs), *left_out, *notes, _notice(value))


def shown_comparison(value: Mapping[str, Any]) -> "RenderableType":
    """B against A."""
    title, style = VERDICTS[value["verdict"]]
    low, high = value["interval"]
    confidence = 100 * (1 - value["alpha"])
    head = f"{title} B - A: {value['delta']:+.3f}, {low:+.3f} to {high:+.3f} ({confidence:.1f} % interval).\n"
    lines = [
        (name.upper(), side["program"], score(side["mean"]), share(side["pass_share"]), side["excluded"])
        for name, side in (("a", value["a"]), ("b", value["b"]))
    ]
    effect = value["minimum_detectable_effect"]
    pairs = [
        ("examples", f"{value['n']} scored for both, in {value['groups']} groups ({value['data']})"),
        ("p", f"{value['p_value']:.2g} ({value['method']})"),
        ("would be seen", "–" if effect is None else f"a difference of {effect:.3f}, in 8 of 10 comparisons"),
        ("readings", f"{value['test_reads']} of these examples: each asks more of a difference"),
        ("model", value["model"]),
        ("cost", _cost(value)),
    ]
    notes = [words(f"! {name.upper()}: {note}", "yellow") for name in "ab" for note in value[name]["notes"]]
    table = rows(
        ("", "program", "quality", "on target", "no score"), lines, right=("quality", "on target", "no score")
    )
    return group(words(head, style), table, words(""), facts(pairs), *notes, _notice(value))


def _cost(value: Mapping[str, Any]) -> str:
    calls = value["calls"]
    made = f"{count(calls['made'])} calls, {count(calls['from_journal'])} answered by the journal"
    return f"{dollars(value['usd'])} ({made})"


def _notice(value: Mapping[str, Any]) -> "RenderableType | None":
    return words(f"\n{SIMULATED}", "magenta") if value["simulated"] else None
