"""The result for a person with two minutes: `report.md`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skill_fleet.llm.calls.bill import paid, tokens_used
from skill_fleet.optimization.ending.choice_words import choice_in_words
from skill_fleet.optimization.ending.outcome import folded, without_verdict
from skill_fleet.optimization.estimates.price_check import phase_checks, price_checks

_VERDICTS = {
    "better": "The optimized program is better than the baseline.",
    "worse": "The optimized program is worse than the baseline.",
    "not_shown": "No difference to the baseline was shown.",
}


def render_report(result: Mapping[str, Any]) -> str:
    """A run's result as Markdown.

    Args:
        result: The JSON result of a run.
    """
    lines = [f"# Run {result['run_id']}", "", *_notice(result), _headline(result), ""]
    lines += ["| | baseline | optimized |", "|---|---|---|"]
    names = {"validation": f"validation ({result['examples']['validation']})"}
    tested = result["folds"] or not folded(result)
    if tested:
        names["test"] = _tested(result)
    for part, name in names.items():
        values = (number(result[kind][part]) for kind in ("baseline", "optimized"))
        lines.append(f"| mean quality, {name} | {' | '.join(values)} |")
    if tested:
        shares = " | ".join(number(result["accuracy"][kind]) for kind in ("baseline", "optimized"))
        lines += [f"| share on target, {'held out' if result['folds'] else 'test'} | {shares} |"]
    lines += [*_answers(result["cost_per_answer"]), "", *_chosen(result), *_facts(result), ""]
    lines += [*_prices(result), *_folds(result), *_front(result)]
    if result["warnings"]:
        lines += ["## Warnings", ""]
        lines += [f"- `{warning['code']}`: {warning['message']}" for warning in result["warnings"]] + [""]
    lines += _rounds(result)
    return "\n".join(lines).rstrip() + "\n"


def number(value: float | None) -> str:
    """A score for people; a dash where it was not measured."""
    return "–" if value is None else f"{value:.3f}"


def _notice(result: Mapping[str, Any]) -> list[str]:
    return [f"> **Simulated.** {result['notice']}", ""] if result.get("notice") else []


def _headline(result: Mapping[str, Any]) -> str:
    status = result["status"]
    if status == "failed":
        return f"**Failed**: {(result.get('error') or {}).get('message', 'no result')}"
    stopped = f" The run was stopped ({result['stop_reason']})." if status == "stopped" else ""
    if result["interval"] is None:
        return f"**{without_verdict(result)}**{stopped}"
    low, high = result["interval"]
    alpha = result["alpha"] or 0.05
    confidence = 100 * (1 - alpha)
    what = "Gain on held-out folds" if result["folds"] else "Difference on the sealed test"
    return (
        f"**{_VERDICTS[result['verdict']]}** {what}: {low:+.3f} to {high:+.3f} "
        f"({confidence:.1f} % interval; p = {result['p_value']:.2g}, asked for {alpha:.2g}).{stopped}"
    )


def _tested(result: Mapping[str, Any]) -> str:
    if not result["folds"]:
        return f"test ({result['examples']['test']})"
    return f"held out ({sum(fold['examples'] for fold in result['folds']['per_fold'])})"


def _answers(costs: Mapping[str, Any]) -> list[str]:
    """What an answer takes, as far as it is known."""
    pair = [costs[name] for name in ("baseline", "optimized")]
    if None in pair:
        return []
    shown: dict[str, Callable[[float], str]] = {
        "calls": lambda value: f"{value:g}",
        "tokens": lambda value: f"{value:,.0f}",
        "usd": lambda value: f"${value:.6f}",
    }
    titles = {"calls": "calls an answer", "tokens": "tokens an answer", "usd": "cost of an answer"}
    return [
        f"| {titles[name]} | {' | '.join('unknown' if c[name] is None else show(c[name]) for c in pair)} |"
        for name, show in shown.items()
    ]


def _chosen(result: Mapping[str, Any]) -> list[str]:
    said = choice_in_words(result["selection"])
    return [] if said is None else [said, ""]


def _folds(result: Mapping[str, Any]) -> list[str]:
    """Each fold, and what the verdict is about."""
    folds = result["folds"]
    if not folds:
        return []
    lines = [
        "## Folds",
        "",
        "The verdict is about how the program was made: the same search without a fold, tested on that fold.",
        "The program itself was made from all examples; none is left to test it on.",
        "",
        "| repeat | fold | examples | groups | baseline | optimized | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in folds["per_fold"]:
        scores = " | ".join(number(one[name]) for name in ("baseline", "optimized", "gain"))
        lines.append(f"| {one['repeat']} | {one['fold']} | {one['examples']} | {one['groups']} | {scores} |")
    return [*lines, ""]


def _front(result: Mapping[str, Any]) -> list[str]:
    """The programs of which no other is at least as good and cheaper."""
    front = [point for point in result["pareto"] if point["on_front"] or point["chosen"]]
    if len(front) < 2:
        return []
    lines = [
        "## Quality against cost",
        "",
        "Measured on the validation set. No other program of the search was at least as good and cheaper.",
        "",
        "| program | round | quality | tokens an answer | calls an answer | |",
        "|---|---|---|---|---|---|",
    ]
    for point in front:
        tokens, calls = point["tokens_per_answer"], point["calls_per_answer"]
        cells = (
            point["program_hash"][:12],
            str(point["round"]),
            number(point["quality"]),
            "unknown" if tokens is None else f"{tokens:,.0f}",
            "unknown" if calls is None else f"{calls:g}",
            "chosen" if point["chosen"] else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _facts(result: Mapping[str, Any]) -> list[str]:
    calls = result["calls"]
    effect = result["minimum_detectable_effect"]
    program = f"Program {result['program']}, optimizer {result['optimizer']}, model {result['model']}"
    replayed = f"{calls.get('from_journal', 0)} more answered by the journal"
    tokens = tokens_used(result, lambda number: f"{number:,.0f}")
    cost = paid(result, lambda usd: f"${usd:.4f}")
    place = f" at `{result['artifact']}`" if result["artifact"] else ""
    return [
        f"- {program}, seed {result['seed']}.",
        f"- {calls.get('made', 0)} calls ({replayed}), {tokens}, {cost}, {result['seconds']:.0f} s.",
        *_expected_effect(result),
        *_readings(result),
        *(
            []
            if effect is None
            else [f"- An effect of {effect:.3f} or more would have been seen in 8 of 10 runs."]
        ),
        f"- Published: {result['published'] or 'nothing'}{place}.",
    ]


def _readings(result: Mapping[str, Any]) -> list[str]:
    """How often what the verdict rests on was read; nothing where there is no verdict."""
    reads, tested = result["test_reads"], "these examples as a test" if folded(result) else "this test set"
    return [] if reads is None else [f"- Readings of {tested}: {reads}."]


def _expected_effect(result: Mapping[str, Any]) -> list[str]:
    effect = result.get("expected_minimum_detectable_effect")
    return [] if effect is None else [f"- Expected before the search: about {number(effect)} could be seen."]


def _prices(result: Mapping[str, Any]) -> list[str]:
    """What was estimated beside what it took."""
    checks = price_checks(result)
    if not checks:
        return []
    lines = ["| price | estimated | actual | |", "|---|---|---|---|"]
    for check in checks:
        digits = {"usd": 4, "minutes": 2}.get(check.measure, 0)
        expected, took = (_ends(ends, digits) for ends in (check.expected, check.took))
        lines.append(f"| {check.measure} | {expected} | {took} | {check.remark} |")
    return [*lines, "", *_phase_prices(result)]


def _ends(ends: Sequence[float] | None, digits: int = 0) -> str:
    if ends is None:
        return "unknown"
    if ends[-1] == math.inf:
        return f"at least {ends[0]:,.{digits}f}"
    return " to ".join(f"{end:,.{digits}f}" for end in ends)


def _phase_prices(result: Mapping[str, Any]) -> list[str]:
    """The same of the calls and tokens of each phase."""
    phases = phase_checks(result)
    if not phases:
        return []
    lines = ["| phase | calls estimated | made | tokens estimated | used |", "|---|---|---|---|---|"]
    for phase, checks in phases.items():
        cells = []
        for check in checks:
            if check.measure != "usd" and check.expected is not None:
                cells += [_ends(check.expected), _ends(check.took)]
        lines.append(f"| {phase} | {' | '.join(cells)} |")
    return [*lines, ""]


def _rounds(result: Mapping[str, Any]) -> list[str]:
    if not result["rounds"]:
        return []
    lines = ["## Rounds", "", "| round | validation | best | seconds | calls |", "|---|---|---|---|---|"]
    for one in result["rounds"]:
        cells = (number(one["score"]), number(one["best"]), f"{one['seconds']:.1f}", str(one["calls"]))
        cut = f" (stopped: {one['stopped']})" if one.get("stopped") else ""
        lines.append(f"| {one['round']}{cut} | {' | '.join(cells)} |")
    lines += ["", "## Instructions of the best program", ""]
    instructions = result["instructions"] or result["rounds"][-1]["instructions"]
    for name, text in instructions.items():
        lines += [f"### {name}", "", "```text", text, "```", ""]
    return lines
