"""The result for a person with two minutes: `report.md`."""

from collections.abc import Mapping
from typing import Any

from skill_fleet.optimization.price_check import price_checks

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
    for part in ("validation", "test"):
        values = (number(result[kind][part]) for kind in ("baseline", "optimized"))
        lines.append(f"| mean quality, {part} ({result['examples'][part]}) | {' | '.join(values)} |")
    accuracy = result["accuracy"]
    shares = f"{number(accuracy['baseline'])} | {number(accuracy['optimized'])}"
    lines += [f"| share on target, test | {shares} |", "", *_facts(result), "", *_prices(result)]
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
        return f"**Not shown**: no optimized program was measured on the sealed test.{stopped}"
    low, high = result["interval"]
    confidence = 100 * (1 - (result["alpha"] or 0.05))
    return (
        f"**{_VERDICTS[result['verdict']]}** Difference on the sealed test: {low:+.3f} to {high:+.3f} "
        f"({confidence:.1f} % interval, p = {result['p_value']:.2g}).{stopped}"
    )


def _facts(result: Mapping[str, Any]) -> list[str]:
    calls, tokens = result["calls"], result["tokens"]
    usd = "unknown" if result["usd"] is None else f"${result['usd']:.4f}"
    effect = result["minimum_detectable_effect"]
    program = f"Program {result['program']}, optimizer {result['optimizer']}, model {result['model']}"
    replayed = f"{calls.get('from_journal', 0)} more answered by the journal"
    count = tokens.get("input", 0) + tokens.get("output", 0)
    place = f" at `{result['artifact']}`" if result["artifact"] else ""
    return [
        f"- {program}, seed {result['seed']}.",
        f"- {calls.get('made', 0)} calls ({replayed}), {count} tokens, {usd}, {result['seconds']:.0f} s.",
        *_expected_effect(result),
        f"- Readings of this test set: {result['test_reads'] or 0}.",
        f"- An effect of {number(effect)} or more would have been seen in 8 of 10 runs.",
        f"- Published: {result['published'] or 'nothing'}{place}.",
    ]


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
        expected = "unknown"
        if check.expected is not None:
            expected = " to ".join(f"{end:,.{digits}f}" for end in check.expected)
        actual = "unknown" if check.actual is None else f"{check.actual:,.{digits}f}"
        remark = f"{check.outside} the estimate" if check.outside else ""
        lines.append(f"| {check.measure} | {expected} | {actual} | {remark} |")
    return [*lines, ""]


def _rounds(result: Mapping[str, Any]) -> list[str]:
    if not result["rounds"]:
        return []
    lines = ["## Rounds", "", "| round | validation | best | seconds | calls |", "|---|---|---|---|---|"]
    for one in result["rounds"]:
        cells = (number(one["score"]), number(one["best"]), f"{one['seconds']:.1f}", str(one["calls"]))
        lines.append(f"| {one['round']} | {' | '.join(cells)} |")
    lines += ["", "## Instructions of the best program", ""]
    for name, text in result["rounds"][-1]["instructions"].items():
        lines += [f"### {name}", "", "```text", text, "```", ""]
    return lines
