"""Let caps stop every registered optimizer at random calls, and print what broke of what caps promise.

    uv run python benchmarks/caps.py [--runs 200] [--seed 0] [--shard i/n] [--optimizer NAME]
                                     [--resume-every 4]

Every run is a real one, at 8 threads on the ticket program, half of them with a metric that asks a model; the
offline model answers under a price, and every call moves the clock of the cap on minutes by a second. The cap
is set so that it is reached at a random call of a random stage. Checked of every run: calls are the cap's
number exactly; tokens and dollars are never above it; minutes by no more than the calls in flight; calls,
tokens, dollars and phases of the result are the sums of the ledger's file; the run is `stopped` by `budget`
with exit code 5, the best program so far and the command to go on; nothing queued begins after the halt, and
no call and no task comes after the end. One of four runs is gone on with without the cap, and has to end in
the uninterrupted program with no answer paid twice. `--shard 1/3` is the first third. Exit code 1 when a
promise broke.

Columns: what was capped; runs; in which stages the first call was refused (and how often), `none` where the
cap was not reached; calls made, tokens and dollars of all these runs together; share of the cap that was
used, median, over those that reached it; runs of the program that an optimizer began after its search was
closed, most (who has passed the door may be on its way: never more than threads); runs gone on with; broken
promises, which are listed below.
"""

import argparse
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from caps_books import judge_capped, judge_late, judge_resumed
from caps_harness import KINDS, Case, Whole, make_place, place_cap, ran, whole

from skill_fleet.optimization.registry import builtin_optimizers

_HEAD = (
    "optimizer",
    "cap on",
    "runs",
    "reached in",
    "calls",
    "tokens",
    "dollars",
    "used",
    "begun late",
    "gone on with",
    "broken",
)


@dataclass(frozen=True)
class Line:
    """One capped run."""

    optimizer: str
    kind: str
    hit: str | None
    used: float
    calls: int
    tokens: int
    usd: float
    begun_late: int
    resumed: bool
    faults: list[str]


def main() -> int:
    asked = _asked()
    with tempfile.TemporaryDirectory() as folder:
        lines = list(_lines(asked, Path(folder)))
    print("| " + " | ".join(_HEAD) + " |")
    print("|" + "---|" * len(_HEAD))
    for optimizer in dict.fromkeys(line.optimizer for line in lines):
        for kind in KINDS:
            _print_row(optimizer, kind, [x for x in lines if (x.optimizer, x.kind) == (optimizer, kind)])
    _print_row("all", "any", lines)
    faults = [f"{x.optimizer}, {x.kind}, in {x.hit}: {fault}" for x in lines for fault in x.faults]
    print(f"\n{len(faults)} broken promises" + "".join(f"\n* {fault}" for fault in faults))
    return 1 if faults else 0


def _lines(asked: argparse.Namespace, folder: Path) -> Iterator[Line]:
    rng = random.Random(asked.seed)
    part, parts = (int(number) for number in asked.shard.split("/"))
    names = asked.optimizer or list(builtin_optimizers())
    found = cache(lambda case: whole(case, folder / f"whole-{case.optimizer}-{case.judged}"))
    for number in range(asked.runs):
        case = Case(names[number % len(names)], judged=rng.random() < 0.5)
        kind = KINDS[number // len(names) % len(KINDS)]
        seed, wanted = rng.random(), rng.random() < 1 / asked.resume_every
        # A shard takes whole optimizers, so that few runs without a cap are needed.
        if number % len(names) % parts == part - 1:
            place = folder / str(number)
            yield _line(case, kind, random.Random(seed), found, place, resumed=wanted)


def _line(
    case: Case,
    kind: str,
    rng: random.Random,
    found: Callable[[Case], Whole],
    root: Path,
    *,
    resumed: bool,
) -> Line:
    uncapped = found(case)
    limits = place_cap(rng, kind, rng.choice(uncapped.stages), uncapped)
    done = ran(make_place(root), case, limits)
    verdict = judge_capped(done, case, kind, limits)
    result = done.result
    faults = [*verdict.faults, *judge_late(done)]
    resumed = resumed and verdict.hit is not None
    if resumed:
        faults += judge_resumed(done, case, uncapped)
    tokens = sum(result.tokens.values())
    return Line(
        case.optimizer,
        kind,
        verdict.hit,
        verdict.used,
        result.calls["made"],
        tokens,
        result.usd or 0.0,
        done.begun_late,
        resumed,
        [f"{fault} ({limits}, {case})" for fault in faults],
    )


def _print_row(optimizer: str, kind: str, lines: list[Line]) -> None:
    if not lines:
        return
    hits = Counter(line.hit or "none" for line in lines)
    reached = [line.used for line in lines if line.hit is not None]
    cells = [
        optimizer,
        kind,
        len(lines),
        ", ".join(f"{stage} {count}" for stage, count in sorted(hits.items())),
        sum(line.calls for line in lines),
        sum(line.tokens for line in lines),
        f"{sum(line.usd for line in lines):.2f}",
        f"{statistics.median(reached):.0%}" if reached else "-",
        max(line.begun_late for line in lines),
        sum(line.resumed for line in lines),
        sum(len(line.faults) for line in lines),
    ]
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", default="1/1", help="i/n: the i-th of n parts, from 1")
    parser.add_argument("--optimizer", choices=tuple(builtin_optimizers()), action="append")
    parser.add_argument("--resume-every", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
