"""Stop every registered optimizer at random moments, go on with it, and print what came of it.

    uv run python benchmarks/kill.py [--kills 20] [--interrupts 0] [--optimizer NAME] [--threads N]
                                     [--seed 0] [--shard i/n]

Half of the moments are random times from the start of the process to its end, half are random numbers of
attempts in its ledger. A kill is SIGKILL, an interrupt is Ctrl-C (SIGINT) sent to the process, which then
has to end by itself. The stopped process and the one that goes on have different hash seeds. `--shard 1/3` is
the first third of the cases, by optimizer and threads. Exit code 1 when a promise broke.

Columns: how the run was stopped; how often, and how often of these before its first call; attempts in the
ledger at the stops, least to most; in how many the final program is the uninterrupted one; answers paid twice
over all; attempts open at one stop and counted as spent, most (at most one a thread; none after Ctrl-C);
attempts of the uninterrupted run, which every stopped one made too, beside the lost; seconds from the signal
to the end of the process, most. What broke is listed below the table.
"""

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from kill_harness import Case, Stand, Stopped, Whole, stand

from skill_fleet.optimization.registry import builtin_optimizers

_HEAD = (
    "optimizer",
    "threads",
    "stopped by",
    "stops",
    "before a call",
    "at attempts",
    "same program",
    "paid twice",
    "lost, most",
    "calls",
    "seconds to end",
)


def main() -> int:
    asked = _asked()
    print("| " + " | ".join(_HEAD) + " |")
    print("|" + "---|" * len(_HEAD))
    faults: list[str] = []
    with stand() as both:
        for case in _shard(asked):
            with tempfile.TemporaryDirectory() as folder:
                whole = both.uninterrupted(case, Path(folder) / "whole")
                for number, wanted in ((signal.SIGKILL, asked.kills), (signal.SIGINT, asked.interrupts)):
                    if wanted == 0:
                        continue
                    rng = random.Random(f"{asked.seed} {case} {number}")
                    done = list(_stops(both, case, whole, Path(folder), rng, number, wanted))
                    print("| " + " | ".join(_cells(case, whole, number, done)) + " |", flush=True)
                    words = f"{case.optimizer}, {case.threads} threads, {number.name}: "
                    faults += [words + fault for one in done for fault in one.faults(whole, case.threads)]
    print(f"\n{len(faults)} broken promises" + "".join(f"\n* {fault}" for fault in faults))
    return 1 if faults else 0


def _stops(
    both: Stand,
    case: Case,
    whole: Whole,
    folder: Path,
    rng: random.Random,
    number: signal.Signals,
    wanted: int,
) -> Iterator[Stopped]:
    """So many stops at moments that the run reached: times and numbers of attempts in turn."""
    made = tried = 0
    while made < wanted:
        moment = whole.moment(rng, by_time=made % 2 == 0)
        tried += 1
        found = both.stopped(case, folder / f"{number.name}-{tried}", moment, number)
        if found is not None:
            made += 1
            yield found


def _cells(case: Case, whole: Whole, number: signal.Signals, done: list[Stopped]) -> list[str]:
    at = [one.at for one in done]
    return [
        case.optimizer,
        str(case.threads),
        "kill -9" if number == signal.SIGKILL else "Ctrl-C",
        str(len(done)),
        str(at.count(0)),
        f"{min(at)} to {max(at)}",
        f"{sum(one.hash == whole.hash for one in done)}/{len(done)}",
        str(sum(one.repeated for one in done)),
        str(max(one.lost for one in done)),
        str(whole.calls),
        f"{max(one.seconds for one in done):.2f}",
    ]


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--interrupts", type=int, default=0)
    parser.add_argument("--optimizer", choices=tuple(builtin_optimizers()), action="append")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", default="1/1", help="i/n: the i-th of n parts, from 1")
    return parser.parse_args()


def _shard(asked: argparse.Namespace) -> list[Case]:
    cases = [
        Case(optimizer, threads)
        for optimizer in asked.optimizer or builtin_optimizers()
        for threads in asked.threads or (1, 8)
    ]
    part, parts = (int(number) for number in asked.shard.split("/"))
    return cases[part - 1 :: parts]


if __name__ == "__main__":
    sys.exit(main())
