"""What a run found, and what it would take, for a person with two minutes."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, between, cents, count, dollars, score, seconds, several, share
from skill_fleet.cli.tables import facts, group, rows, words
from skill_fleet.llm.calls.bill import paid, tokens_used

if TYPE_CHECKING:
    from rich.console import RenderableType

SIMULATED = (
    "SIMULATED: a rule-based simulator answered, not a language model. These numbers predict no real model."
)
VERDICTS = {
    "better": ("Better.", "bold green"),
    "worse": ("Worse.", "bold red"),
    "not_shown": ("No difference shown.", "bold yellow"),
}
_PUBLISHED = {
    "candidate": "the optimized program",
    "baseline": "the plain program: nothing better was shown",
    "incumbent": "left as it was: nothing better was shown",
}
_KEPT = frozenset({"incumbent_kept", "output_changed"})


def shown_result(
    result: Mapping[str, Any], *, elsewhere: str = "", report: str | None = None
) -> "RenderableType":
    """The JSON result of a run.

    Args:
        result: It.
        elsewhere: Where its files are, in words; empty where they are here.
        report: How to see its report, instead of the file's name.
    """
    warnings = [
        words(f"! {warning['message']}", "yellow")
        for warning in result["warnings"]
        if warning["code"] != "slow_round"
    ]
    notice = words(f"SIMULATED: {result['notice']}", "magenta") if result.get("notice") else None
    return group(
        _headline(result),
        _scores(result),
        *_choice(result),
        words(""),
        facts(_facts(result, elsewhere, report)),
        _prices(result),
        *([words(""), *warnings] if warnings else []),
        *([words(""), notice] if notice is not None else []),
    )


def shown_estimate(value: Mapping[str, Any]) -> "RenderableType":
    """What a run would take."""
    from skill_fleet.llm.offline.notice import SIMULATED_NOTICE

    sizes = value["examples"]
    pairs = [
        ("program", value["program"]),
        ("optimizer", value["optimizer"]),
        ("model", value["model"]),
        (
            "examples",
            f"{sizes['train']} train, {sizes['validation']} validation, {_tested(value, sizes)}",
        ),
        ("calls", between(value["calls"])),
        ("tokens", between(value["tokens"])),
        ("cost", between(value["usd"], dollars)),
        ("time", between([60 * end for end in value["minutes"]], seconds)),
    ]
    power = value["power"]
    effect = power["effect"]
    seen = "no difference" if effect is None else f"a difference of about {effect:.2g}, in 8 of 10 runs"
    where = f"{several(power['groups'], 'group')}, reading {power['reading']}"
    pairs.append(("would be seen", f"{seen} ({where}; differences assumed to spread by {power['sd']:g})"))
    phases = [
        (phase, line["model"], between(line["calls"]), between(line["tokens"]), between(line["usd"], dollars))
        for phase, line in value["by_phase"].items()
    ]
    warnings = [words(f"! {warning['message']}", "yellow") for warning in value["warnings"]]
    return group(
        facts(pairs),
        words(""),
        rows(("phase", "model", "calls", "tokens", "cost"), phases),
        *([words(""), *warnings] if warnings else []),
        words(f"\nSized by {value['sized_by']}. {_spent_on(value['profile'])}", "dim"),
        words(f"SIMULATED: {SIMULATED_NOTICE}", "magenta") if value["simulated"] else None,
    )


def _spent_on(profile: Mapping[str, Any] | None) -> str:
    if profile is None:
        return "Nothing was spent."
    calls, tokens = several(profile["calls"], "call"), count(profile["tokens"])
    return f"That took {calls}, {tokens} tokens, {dollars(profile['usd'])} and {seconds(profile['seconds'])}."


def _tested(value: Mapping[str, Any], sizes: Mapping[str, int]) -> str:
    """How the result is tested."""
    folds = value["power"]["folds"]
    if not folds:
        return f"{sizes['test']} sealed test"
    return f"and {folds} searches more, each tested on a fold of the {sum(sizes.values())}"


def _headline(result: Mapping[str, Any]) -> "RenderableType":
    from skill_fleet.optimization.ending.outcome import without_verdict

    title, style = VERDICTS[result["verdict"]]
    if result["status"] == "failed":
        title, style = "Failed.", "bold red"
    elif result["interval"] is None:
        title = without_verdict(result)
    where = "" if result["status"] in {"succeeded", "failed"} else f" Stopped: {result['stop_reason']}."
    return words(f"{title}{_difference(result)}{where}\n", style)


def _difference(result: Mapping[str, Any]) -> str:
    if result["interval"] is None:
        return ""
    low, high = result["interval"]
    confidence = 100 * (1 - (result["alpha"] or 0.05))
    what = "Gain on held-out folds" if result["folds"] else "Difference on the sealed test"
    return f" {what}: {low:+.3f} to {high:+.3f} ({confidence:.1f} % interval)."


def _scores(result: Mapping[str, Any]) -> "RenderableType":
    from skill_fleet.optimization.ending.outcome import folded

    examples, accuracy, folds = result["examples"], result["accuracy"], result["folds"]
    sizes = {"validation": f"validation ({examples['validation']})"}
    if folds:
        sizes["test"] = f"held out ({sum(fold['examples'] for fold in folds['per_fold'])})"
    elif not folded(result):
        sizes["test"] = f"test ({examples['test']})"
    lines = [
        (f"quality, {name}", score(result["baseline"][part]), score(result["optimized"][part]))
        for part, name in sizes.items()
    ]
    if "test" in sizes:
        target = f"on target, {'held out' if folds else 'test'} (aim {share(accuracy['target'])})"
        lines.append((target, share(accuracy["baseline"]), share(accuracy["optimized"])))
    lines += _answers(result["cost_per_answer"])
    return rows(("", "baseline", "optimized"), lines, right=("baseline", "optimized"))


def _answers(costs: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What an answer takes: calls where they differ, tokens, dollars where it costs any."""
    baseline, optimized = costs["baseline"], costs["optimized"]
    if baseline is None or optimized is None:
        return
    if baseline["calls"] != optimized["calls"]:
        yield "calls an answer", f"{baseline['calls']:g}", f"{optimized['calls']:g}"
    before, after = (UNKNOWN if one["tokens"] is None else count(one["tokens"]) for one in costs.values())
    yield "tokens an answer", before, after
    if baseline["usd"] or optimized["usd"]:
        yield "cost of an answer", cents(baseline["usd"]), cents(optimized["usd"])


def _choice(result: Mapping[str, Any]) -> list["RenderableType"]:
    """What the choice among many did to the number it was chosen by."""
    from skill_fleet.optimization.ending.choice_words import choice_in_words

    said = choice_in_words(result["selection"])
    return [] if said is None else [words(""), words(said, "yellow")]


def _facts(result: Mapping[str, Any], elsewhere: str, report: str | None) -> Iterator[tuple[str, str]]:
    calls = result["calls"]
    yield "verdict", _verdict(result)
    if result["folds"]:
        done = len(result["folds"]["per_fold"])
        yield "tested", f"how it was made, {done} times: each time without the fold that was the test"
    made = f"{count(calls['made'])} made, {count(calls['from_journal'])} answered by the journal"
    if calls.get("reused"):
        made += f" ({count(calls['reused'])} different ones paid before this run)"
    extra = [f"{calls[kind]} {kind}" for kind in ("failed", "lost") if calls[kind]]
    yield "calls", ", ".join([made, *extra])
    yield "cost", paid(result, dollars, f"{tokens_used(result, count)}, {seconds(result['seconds'])}")
    rounds = several(len(result["rounds"]), "round")
    if result.get("recommendation"):
        yield "chosen", result["recommendation"]["reason"]
    yield "run", f"{result['run_id']} ({result['optimizer']}, {result['model']}, {rounds})"
    if result["selection"] is not None:
        yield "choice", _front(result)
    if result["artifact"] is not None:
        kept = any(warning["code"] in _KEPT for warning in result["warnings"])
        why = "left as it was: see below" if kept else _PUBLISHED[result["published"]]
        where = f"; {elsewhere}" if elsewhere else ""
        yield "artifact", f"{result['artifact']} ({why}{where})"
    yield "report", str(result["report"] if report is None else report)


def _prices(result: Mapping[str, Any]) -> "RenderableType | None":
    """What was estimated beside what it took."""
    from skill_fleet.optimization.estimates.price_check import phase_checks, price_checks

    shown: dict[str, tuple[str, Callable[[float], str]]] = {
        "calls": ("calls", count),
        "tokens": ("tokens", count),
        "usd": ("cost", dollars),
        "minutes": ("time", lambda minutes: seconds(60 * minutes)),
    }
    lines = []
    for check in price_checks(result):
        title, show = shown[check.measure]
        lines.append((title, between(check.expected, show), between(check.took, show), check.remark))
    if not lines:
        return None
    prices = rows(("price", "estimated", "actual", ""), lines)
    phases = [
        (
            phase,
            *(cell for check in checks[:2] for cell in (between(check.expected), between(check.took))),
        )
        for phase, checks in phase_checks(result).items()
    ]
    if not phases:
        return group(words(""), prices)
    columns = ("phase", "calls estimated", "made", "tokens estimated", "used")
    return group(words(""), prices, words(""), rows(columns, phases))


def _front(result: Mapping[str, Any]) -> str:
    among = several(result["selection"]["candidates"], "candidate")
    front = sum(point["on_front"] for point in result["pareto"])
    verb = "is" if front == 1 else "are"
    return (
        f"among {among}; {front} of {len(result['pareto'])} programs {verb} on the front of quality and cost"
    )


def _verdict(result: Mapping[str, Any]) -> str:
    from skill_fleet.optimization.ending.outcome import nothing_compared

    if result["p_value"] is None:
        return nothing_compared(result)
    effect = result["minimum_detectable_effect"]
    seen = "" if effect is None else f"; a difference of {effect:.3f} would have been seen in 8 of 10 runs"
    asked = "" if result["alpha"] is None else f", asked for {result['alpha']:.2g}"
    reading = f" at reading {result['test_reads']}" if asked and (result["test_reads"] or 1) > 1 else ""
    return f"{result['verdict']} (p = {result['p_value']:.2g}{asked}{reading}{seen})"
