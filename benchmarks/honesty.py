"""Attacks on the rule that decides whether a program is better, without a language model: one table.

    python benchmarks/honesty.py [--runs 2000] [--seed 0]

`holds`: the bound in the row was kept. `not caught`: what nothing here can see; said, not hidden. `–`: a
figure without a promise. A row that is `BROKEN` ends it with exit code 1.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OPTIMIZATION_TESTS = Path(__file__).resolve().parents[1] / "tests" / "optimization"
sys.path[:0] = [str(OPTIMIZATION_TESTS), str(OPTIMIZATION_TESTS / "programs")]

import honesty_attacks as attacks  # noqa: E402 - the harness is the tests'
import honesty_draws as draws  # noqa: E402
import honesty_leaks as leaks  # noqa: E402

from skill_fleet.evaluation.statistics import alpha_for_read  # noqa: E402
from skill_fleet.optimization.registry import builtin_optimizers  # noqa: E402

Row = tuple[str, str, str, str, str]
READINGS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.getLogger("dspy").setLevel(logging.ERROR)
    started, broken = time.perf_counter(), 0
    print("| attack | found | bound | for comparison | |\n|---|---|---|---|---|")
    for row in rows(asked.runs, asked.seed):
        broken += row[-1] == "BROKEN"
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"{time.perf_counter() - started:.0f} s, {broken} broken", file=sys.stderr)
    return 1 if broken else 0


def rows(runs: int, seed: int) -> Iterator[Row]:
    yield from no_better(runs, seed)
    yield from rounds(runs // 2, seed)
    yield from again(runs // 2, seed)
    yield from together(runs // 2, seed)
    yield from power(runs // 4, seed)
    yield from named(runs // 4, seed)
    yield from failing()
    yield from planted(seed)
    yield from metrics()
    yield from caps()
    yield from order()


def said(*, held: bool) -> str:
    return "holds" if held else "BROKEN"


def share(value: float) -> str:
    return f"{100 * value:.1f} %"


def no_better(runs: int, seed: int) -> Iterator[Row]:
    """Candidates as good as the baseline: the rule here, and two rules elsewhere, on the same draws."""
    alpha = alpha_for_read(1)
    for shape in (draws.LARGE, draws.SMALL, draws.BINARY):
        for candidates in (1, 10, 30):
            found = draws.accepted(shape, candidates, runs, seed=seed)
            what = f"best of {candidates} no-better candidates, test of {shape.name}: called better"
            rivals = f"improves on validation: {share(found.strict)}; one standard error: "
            held = found.sealed <= draws.upper(alpha, runs)
            bound = f"{share(alpha)} + 3 sd"
            yield what, share(found.sealed), bound, rivals + share(found.one_error), said(held=held)


def rounds(runs: int, seed: int) -> Iterator[Row]:
    """Each round breeds from the best on validation so far; the sealed test is read once, at the end."""
    alpha = alpha_for_read(1)
    for shape in (draws.MIDDLE, draws.WIDE):
        found = draws.in_rounds(shape, 3, 10, runs, seed=seed)
        what = f"3 rounds of 10 no-better candidates, test of {shape.name}: called better"
        rivals = f"improves on validation: {share(found.strict)}; one standard error: "
        held = found.sealed <= draws.upper(alpha, runs)
        bound = f"{share(alpha)} + 3 sd"
        yield what, share(found.sealed), bound, rivals + share(found.one_error), said(held=held)


def together(runs: int, seed: int) -> Iterator[Row]:
    """`compare` with several programs, none better than the first."""
    alpha = alpha_for_read(1)
    for shape, candidates in ((draws.MIDDLE, 2), (draws.MIDDLE, 5), (draws.MIDDLE, 10), (draws.WIDE, 10)):
        found = draws.compared(shape, candidates, runs, seed=seed)
        what = f"compare: {candidates} no-better candidates, test of {shape.name}: any called better"
        flat = f"each at {alpha:.3f}: {share(found.flat)}"
        held = found.spent <= draws.upper(alpha, runs)
        yield what, share(found.spent), f"{share(alpha)} + 3 sd", flat, said(held=held)


def again(runs: int, seed: int) -> Iterator[Row]:
    for shape in (draws.LARGE, draws.SMALL):
        found = draws.read_again(shape, READINGS, runs, seed=seed)
        what = f"{READINGS} searches in a row, one test of {shape.name}: any called better"
        flat = f"each reading at .05: {share(found.flat)}"
        yield what, share(found.spent), "5.0 %", flat, said(held=found.spent <= 0.05)
        found = draws.climbed(shape, READINGS, runs, seed=seed)
        what = f"{READINGS} candidates bred from the best on the test of {shape.name}: any called better"
        flat = f"each reading at .05: {share(found.flat)}"
        yield what, share(found.spent), "no promise", flat, "not caught" if found.spent > 0.05 else "–"


def power(runs: int, seed: int) -> Iterator[Row]:
    for shape in (draws.LARGE, draws.SMALL):
        for gain in (0.05, 0.10):
            found = draws.accepted(shape, 1, runs, gain=gain, seed=seed)
            what = f"a true gain of {gain:.2f}, test of {shape.name}: found"
            yield what, share(found.sealed), "–", f"detectable effect printed: {found.effect:.3f}", "–"
        printed = draws.accepted(shape, 1, runs, gain=0.10, seed=seed).effect
        found = draws.accepted(shape, 1, runs, gain=printed, seed=seed + 1)
        what = f"a true gain of the {printed:.3f} printed, test of {shape.name}, where it was read: found"
        held = found.found >= draws.lower(0.8, runs)
        yield what, share(found.found), "80 % - 3 sd", "said: 8 of 10", said(held=held)


def named(runs: int, seed: int) -> Iterator[Row]:
    """Differences as large as is named, before and after; the formula is in quantiles of t."""
    for groups, reading in ((7, 1), (8, 1), (10, 2), (12, 4), (13, 1), (29, 1), (40, 3), (60, 1)):
        for skewness in (0.0, -1.0):
            found = draws.named(groups, reading, runs, skewness=skewness, seed=seed)
            how = "skewed" if skewness else "normal"
            what = f"a difference as large as named, {groups} groups, reading {reading}, {how}: found"
            pair = f"named before: {share(found.before)}; printed after: {share(found.after)}"
            held = min(found.before, found.after) >= draws.lower(0.8, runs)
            yield what, pair, "80 % - 3 sd", f"by formula: {share(found.formula)}", said(held=held)


def failing() -> Iterator[Row]:
    honest = tried = 0
    for kind in (*attacks.FAULTS, "truncated"):
        done, shown, published = attacks.all_calls_fail("gepa", kind)
        tried += 1
        honest += (done.result.status, done.error.exit_code, shown, published) == ("failed", 6, [], False)
    what = f"every call fails, {tried} ways: status failed, exit 6, no score, nothing published"
    yield what, f"{honest} of {tried}", "all", "–", said(held=honest == tried)
    for optimizer in ("gepa", "miprov2"):
        found = attacks.some_examples_fail(optimizer)
        failed = f"{found.failing} of {found.examples} test examples fail for good"
        exact = found.reported == found.expected and found.excluded > 0
        zeros = f"failures as zeros: {_means(found.zeros)}"
        what, bound = f"{failed} ({optimizer}): means", f"exactly {_means(found.expected)}"
        yield what, _means(found.reported), bound, zeros, said(held=exact)


def _means(pair: tuple[float, float]) -> str:
    return " → ".join(f"{value:.4f}" for value in pair)


def planted(seed: int) -> Iterator[Row]:
    clean = leaks.reported_of_clean()
    yield "nothing planted: examples reported", str(clean), "0", "–", said(held=clean == 0)
    every = []
    for kind in leaks.KINDS:
        found = leaks.plant(kind, seed=seed)
        every.append(found)
        whole = found.either == found.planted
        verdict = "not caught" if kind in leaks.HARD and not whole else said(held=whole)
        how = f"kept together: {found.together}; reported: {found.reported}"
        yield f"leak planted: {kind}", f"{found.either} of {found.planted}", "all", how, verdict
    total = leaks.tally(every)
    yield "leaks planted, of every kind", f"{total.either} of {total.planted}", "–", "–", "–"


def metrics() -> Iterator[Row]:
    done = attacks.lying_metric("metrics:constant")
    spent = ", ".join(done.result.calls["by_phase"])
    refused = done.result.stop_reason == "no_signal" and spent == "evaluation"
    found = f"{done.result.stop_reason}, calls: {spent}"
    yield "a constant metric", found, "nothing spent on search", "–", said(held=refused)
    for name in ("percent", "negative", "not_a_number", "nothing", "nothing_when_wrong", "words"):
        done = attacks.lying_metric(f"hostile:{name}")
        message = done.error.message if done.error else done.result.status
        named = f"The metric {name} returned" in message
        held = done.result.stop_reason == "metric" and named and attacks.scores_in(done) == []
        found = message.partition(f"The metric {name} ")[2] or message
        yield f"the metric `{name}`", found, "refused by name, no score", "–", said(held=held)
    yield from gamed()
    seen = attacks.watch("gepa", metric="hostile:telling")
    early = seen.prompts_before + seen.scored_before + seen.kept
    what = "a metric whose feedback gives every answer away: test examples met in the search, or learnt"
    held = early == 0 and seen.after > 0
    yield what, f"{early}; {seen.after} after", "0", "–", said(held=held)


def gamed() -> Iterator[Row]:
    """Metrics that can be had without an answer, and one that cannot."""
    cases = {
        "a metric that pays for a magic word, which its feedback names": lambda: attacks.lying_metric(
            "hostile:magic", program="hostile:Reply"
        ),
        "a judge that can be talked into full marks": attacks.gamed_judge,
        "a metric that is content with a list of all answers": lambda: attacks.lying_metric(
            "hostile:mentions"
        ),
        "a metric that reads the answer": lambda: attacks.lying_metric("triage:exact"),
    }
    for what, run in cases.items():
        done = run()
        named = any(warning["code"] == "metric_gamed" for warning in done.result.warnings)
        wanted = what != "a metric that reads the answer"
        bound = "`metric_gamed`" if wanted else "no warning"
        shown = f"{done.result.verdict}; {'`metric_gamed`' if named else 'no warning'}"
        yield what, shown, bound, "–", said(held=named == wanted)


def caps() -> Iterator[Row]:
    for optimizer in ("gepa", "miprov2"):
        for stage, found in attacks.capped_in_each_stage(optimizer):
            what = f"the cap on calls is met in {stage} ({optimizer})"
            held = bool(found) and all(one.honest for one in found)
            yield what, _cap(found), "cap, exit 5, resume ends the same", "–", said(held=held)


def _cap(found: list[attacks.Capped]) -> str:
    return "; ".join(f"{one.made} of {one.cap} calls, {one.verdict}" for one in found) or "never met"


def order() -> Iterator[Row]:
    for optimizer in builtin_optimizers():
        seen = attacks.watch(optimizer)
        early = seen.prompts_before + seen.scored_before
        what = f"test examples asked or scored before the search is over ({optimizer})"
        found = f"{early} in {seen.prompts} prompts; {seen.after} after"
        held = early == 0 and seen.prompts > 0 and seen.after > 0
        yield what, found, "0", "–", said(held=held)


if __name__ == "__main__":
    sys.exit(main())
