"""Optimizers at a model's latency: stock DSPy beside skill-fleet, each search in a fresh process.

    uv run python benchmarks/optimizers.py [--quick] [--optimizer NAME] [--threads N] [--repeats 1] [--seed 0]

A model that takes 200 ms a call and no CPU answers from a hash of the prompt; the program has two predictors,
30 training and 20 validation examples; 4 bootstrapped and 4 labeled demonstrations at most. "Stock" is DSPy's
own class on a `dspy.LM`, with DSPy's disk cache, empty, in a temporary folder. "Ours" is the optimizer of the
product on its models, with an empty journal and prefetch. Imports are not timed.

Columns: optimizer; threads (`--num-threads` of both); wall, in seconds, of stock and ours; ratio of the two;
its target at 32 threads, and whether it is met; calls that reached the model, and how many more ours are
(target: at most 4 %); most calls in flight at a time in ours (at most the threads); efficiency of stock and
ours: calls x latency / (threads x wall), 1 when no thread ever waits; same: whether program and candidates
are identical.

With `--repeats` the wall is the fastest of so many runs of each side, in turn: what the machine does besides
only ever adds. The bounds are on all of them.

Replay rows: the same search again in a new process over the finished one's cache or journal. Target: no
call, and a wall within 5 % of stock's or 1.5 ms a call, whichever is larger.

Exit code 1 when an identity, the bound on calls, or the bound on calls in flight breaks: those do not depend
on the machine. A speed below its target is marked, and changes nothing: it depends on what else the machine
does, which is why the load average is printed below the table. All rows take about ten minutes; `--optimizer`
and `--threads` make smaller tables.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

LATENCY = 0.2
THREADS = (8, 16, 32, 96)
CLAIMED = {"miprov2": ("light", None), "bootstrap_random_search": (None, 16)}
SHOWN = {"gepa": (None, 8), "simba": (None, 4), "copro": (None, 2)}
SPEED, EXTRA, CALL_OF_REPLAY = 2.0, 0.04, 0.0015


@dataclass(frozen=True)
class Side:
    """One search of one side, as its process saw it."""

    wall: float
    calls: int
    most_in_flight: int
    hash: str
    table: str

    def efficiency(self, threads: int) -> float:
        return self.calls * LATENCY / (threads * self.wall)


def main() -> int:
    asked = _arguments()
    if asked.side:
        _search(asked.side, asked.optimizer[0], asked.threads[0], Path(asked.folder), asked.seed)
        return 0
    names = asked.optimizer or [*CLAIMED, *SHOWN]
    counts = asked.threads or ((32,) if asked.quick else THREADS)
    head = "optimizer threads stock_s ours_s ratio target calls_stock calls_ours extra in_flight".split()
    head += ["efficiency_stock", "efficiency_ours", "same"]
    print(_row([name.replace("_", " ") for name in head]))
    print(_row(["---"] * len(head)))
    broken = 0
    for name in names:
        for threads in counts if name in CLAIMED else [n for n in counts if n == 32] or counts[:1]:
            broken += _compared(name, threads, asked)
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{os.cpu_count()} cores; load average {load}.")
    return 1 if broken else 0


def _compared(name: str, threads: int, asked: argparse.Namespace) -> int:
    """Print the rows of one optimizer and number of threads; how many bounds broke."""
    stocks, ourses, stock_again, ours_again = [], [], [], []
    for _ in range(asked.repeats):
        with tempfile.TemporaryDirectory() as folder:
            for side, runs in (("stock", stocks), ("ours", ourses)):
                runs.append(_fresh(side, name, threads, folder, asked.seed))
            for side, runs in (("stock", stock_again), ("ours", ours_again)):
                runs.append(_fresh(side, name, threads, folder, asked.seed))
    stock, ours, again = _fastest(stocks), _fastest(ourses), _fastest(ours_again)
    same = {(one.hash, one.table) for one in (*stocks, *ourses)}
    alike = {(one.hash, one.table) for one in (*ourses, *ours_again)}
    extra = max(one.calls for one in ourses) / min(one.calls for one in stocks) - 1
    most = max(one.most_in_flight for one in ourses)
    ratio = stock.wall / ours.wall
    target = f"{SPEED:.1f} {_mark(ratio >= SPEED)}" if name in CLAIMED and threads == 32 else ""
    cells = [name, threads, f"{stock.wall:.1f}", f"{ours.wall:.1f}", f"{ratio:.2f}", target]
    cells += [stock.calls, ours.calls, f"{extra:+.1%}", most]
    cells += [f"{side.efficiency(threads):.2f}" for side in (stock, ours)]
    print(_row([*cells, "yes" if len(same) == 1 else "NO"]), flush=True)
    _print_replay(name, threads, _fastest(stock_again), again, ours, same="yes" if len(alike) == 1 else "NO")
    bounds = [len(alike) == 1, again.calls == 0, most <= threads]
    if name in CLAIMED:
        bounds += [len(same) == 1, extra <= EXTRA]
    return bounds.count(False)


def _print_replay(name: str, threads: int, stock: Side, again: Side, ours: Side, *, same: str) -> None:
    met = again.wall - stock.wall <= max(0.05 * stock.wall, CALL_OF_REPLAY * ours.calls)
    cells = [f"{name}, replay", threads, f"{stock.wall:.2f}", f"{again.wall:.2f}"]
    cells += [f"{stock.wall / again.wall:.2f}", _mark(met), stock.calls, again.calls, ""]
    print(_row([*cells, again.most_in_flight, "", "", same]), flush=True)


def _fastest(runs: list[Side]) -> Side:
    return min(runs, key=lambda side: side.wall)


def _mark(met: object) -> str:
    return "met" if met else "MISSED"


def _fresh(side: str, name: str, threads: int, folder: str, seed: int) -> Side:
    """One search in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--optimizer", name, "--threads", str(threads)]
    command += ["--folder", f"{folder}/{side}", "--seed", str(seed)]
    environ = {**os.environ, "DSPY_CACHEDIR": f"{folder}/{side}-cache", "DSPY_NOTEBOOK": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environ)
    if done.returncode != 0:
        raise SystemExit(f"{side} {name}: {done.stderr[-2000:]}")
    return Side(**json.loads(done.stdout.splitlines()[-1]))


def _search(side: str, name: str, threads: int, folder: Path, seed: int) -> None:
    """Run one search here and print what it came to."""
    from prefetch_problem import HashModel, ours, stock

    from skill_fleet.optimization.search import Effort

    auto, trials = {**CLAIMED, **SHOWN}[name]
    effort = Effort(auto, trials, 4, 4, threads)
    model = HashModel(latency=LATENCY)
    run = ours if side == "ours" else stock
    started = time.perf_counter()
    done = run(name, folder, model, effort, seed=seed)
    wall = time.perf_counter() - started
    found = Side(wall, done.calls, done.most_in_flight, done.hash or "", done.table)
    print(json.dumps(vars(found)), flush=True)
    os._exit(0)  # what an executor left running is not awaited


def _row(cells: list) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="32 threads only")
    parser.add_argument("--optimizer", action="append", choices=[*CLAIMED, *SHOWN])
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
