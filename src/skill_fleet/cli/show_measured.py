"""Measured programs for people: one, or several compared."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, count, dollars, score, several, share
from skill_fleet.cli.show_run import SIMULATED, VERDICTS
from skill_fleet.cli.tables import facts, group, rows, words
from skill_fleet.llm.calls.bill import paid

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
    return group(facts(pairs), *left_out, *_warnings(value), *notes, _notice(value))


def shown_comparison(value: Mapping[str, Any]) -> "RenderableType":
    """The others against the first: B against A, or several against one reference."""
    return _several(value) if "candidates" in value else _two(value)


def _two(value: Mapping[str, Any]) -> "RenderableType":
    title, style = VERDICTS[value["verdict"]]
    low, high = value["interval"]
    confidence = 100 * (1 - value["alpha"])
    head = f"{title} B - A: {value['delta']:+.3f}, {low:+.3f} to {high:+.3f} ({confidence:.1f} % interval).\n"
    sides = {"A": value["a"], "B": value["b"]}
    pairs = [
        ("examples", _examples(value, "both")),
        ("p", f"{value['p_value']:.2g} ({value['method']})"),
        ("would be seen", _effect(value["minimum_detectable_effect"])),
        *_shared(value),
    ]
    return group(
        words(head, style),
        _programs(sides),
        words(""),
        facts(pairs),
        *_warnings(value),
        *_notes(sides),
        _notice(value),
    )


def _several(value: Mapping[str, Any]) -> "RenderableType":
    candidates = value["candidates"]
    names = _letters(len(candidates) + 1)
    sides = dict(zip(names, (value["reference"], *candidates), strict=True))
    found = list(zip(names[1:], candidates, strict=True))
    by_verdict = {verdict: [name for name, one in found if one["verdict"] == verdict] for verdict in VERDICTS}
    head = " ".join(
        f"{VERDICTS[verdict][0].rstrip('.')}: {', '.join(which)}."
        for verdict, which in by_verdict.items()
        if which
    )
    style = next(VERDICTS[verdict][1] for verdict, which in by_verdict.items() if which)
    against = rows(
        ("", "- A", "!interval", "p", "p (Holm)", "!would be seen", "verdict"),
        [(name, *_against(one)) for name, one in found],
        right=("- A", "p", "p (Holm)"),
    )
    family = f"wrong in at most {100 * value['alpha']:.1f} % of cases, all verdicts together (Holm)"
    pairs = [
        ("examples", _examples(value, "all")),
        ("verdicts", family),
        *_shared(value),
    ]
    return group(
        words(f"Against A: {head}\n", style),
        _programs(sides),
        words(""),
        against,
        words(""),
        facts(pairs),
        *_warnings(value),
        *_notes(sides),
        _notice(value),
    )


def _against(one: Mapping[str, Any]) -> tuple[object, ...]:
    low, high = one["interval"]
    effect = one["minimum_detectable_effect"]
    return (
        f"{one['delta']:+.3f}",
        f"{low:+.3f} to {high:+.3f} ({100 * (1 - one['alpha']):.1f} %)",
        f"{one['p_value']:.2g}",
        f"{one['p_adjusted']:.2g}",
        score(effect),
        words(*VERDICTS[one["verdict"]]),
    )


def _programs(sides: Mapping[str, Mapping[str, Any]]) -> "RenderableType":
    """Quality beside what an answer takes."""
    lines = []
    for name, side in sides.items():
        cost = side["cost_per_answer"] or {"tokens": None, "usd": None}
        tokens = UNKNOWN if cost["tokens"] is None else count(cost["tokens"])
        quality = (score(side["mean"]), share(side["pass_share"]), side["excluded"])
        lines.append(
            (name, side["program"], *quality, tokens, _per_answer(cost["usd"]), "*" * side["on_front"])
        )
    numbers = ("quality", "on target", "no score", "tokens", "dollars")
    return rows(("", "program", *numbers, ""), lines, right=numbers)


def _shared(value: Mapping[str, Any]) -> list[tuple[str, object]]:
    chosen = value["choice"]
    return [
        ("per answer", "tokens and dollars; * no other is at least as good and cheaper"),
        ("choice", f"{chosen['program']}: {chosen['reason']}"),
        ("readings", f"{value['test_reads']} of these examples: each asks more of a difference"),
        ("model", value["model"]),
        ("cost", _cost(value)),
    ]


def _notes(sides: Mapping[str, Mapping[str, Any]]) -> list["RenderableType"]:
    return [words(f"! {name}: {note}", "yellow") for name, side in sides.items() for note in side["notes"]]


def _examples(value: Mapping[str, Any], who: str) -> str:
    return f"{value['n']} scored for {who}, in {several(value['groups'], 'group')} ({value['data']})"


def _warnings(value: Mapping[str, Any]) -> list["RenderableType"]:
    return [words(f"! {warning['message']}", "yellow") for warning in value["warnings"]]


def _letters(number: int) -> list[str]:
    """A, B, C, … and numbers where the alphabet ends."""
    return [chr(ord("A") + index) if index < 26 else str(index + 1) for index in range(number)]


def _effect(effect: float | None) -> str:
    return UNKNOWN if effect is None else f"a difference of {effect:.3f}, in 8 of 10 comparisons"


def _per_answer(usd: float | None) -> str:
    """Dollars an answer: there are few, so with two digits that say something."""
    return UNKNOWN if usd is None else f"${usd:.2g}"


def _cost(value: Mapping[str, Any]) -> str:
    calls = value["calls"]
    made = f"{count(calls['made'])} calls, {count(calls['from_journal'])} answered by the journal"
    return paid(value, dollars, made)


def _notice(value: Mapping[str, Any]) -> "RenderableType | None":
    return words(f"\n{SIMULATED}", "magenta") if value["simulated"] else None
