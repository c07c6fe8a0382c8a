"""Optimize through a provider with faults, and hold program and bill against the run without them.

    uv run python benchmarks/chaos.py [--quick] [--fault NAME] [--rate R] [--optimizer NAME] [--threads N]
                                      [--stock | --no-stock] [--jobs 2] [--seed 0] [--json]

Each cell is a real run of the built-in program on 24 examples of the shipped training set: `optimize` with
GEPA or MIPROv2 at 8 and 16 threads, through HTTP, against `simulate-provider` in a process of its own,
which meets every request with a fault or not (drawn by seed, prompt and attempt) and keeps its own books.
`--optimizer` takes any other built-in one too, `--optimizer all` each of them; stock is run for those two.
Faults that pass are tried at 10 % and 25 % of the requests, those for good at 2 % and 10 %, and all that
pass together at 25 %. Pauses between attempts are 10 to 50 ms instead of 1 to 60 s, and a client waits 1.5
s for an answer, so that no time goes by with sleeping; all else is as by default. "Stock" is DSPy's own
GEPA, MIPROv2, Evaluate and LM (`num_retries=3`, `cache=False`), with the same program, data and settings,
at 8 threads.

Columns: fault, its rate, optimizer, threads; what became of the run (with exclusions, or the cause of a
stop); program: whether it is identical to that of the run without faults; calls: as the run counts them,
and as the server does; known: tokens of answers with usage, `=` where they and their dollars are those of
the server's books; billed: by the server, in the range of the bill (`in`) or not (`OUT`), with the calls
that may have been billed without an answer; scored: failures that were given a score, by an optimizer or in
a measurement; wall, in seconds. The same of stock: its program, what it scores on the test set beside its
own run without faults, failures that it scored, calls and tokens that it counts itself beside the server's,
wall.

Exit code 1 when a law of ours broke, one of them that the provider met requests with the faults that it was
asked for; what broke is listed below the table. The table does not depend on the machine but for wall, and
for a `hang` on one that takes longer than 1.5 s for an answer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from chaos_harness import Books, Case, Outcome, Provider, as_json, ours, stock
from chaos_laws import FOR_GOOD, billed_right, broken_laws

from skill_fleet.optimization.registry import builtin_optimizers

PASSING = (
    "rate_limit", "server_error", "bad_gateway", "unavailable", "hang", "reset", "truncated", "malformed",
    "empty", "blank", "length", "no_usage", "slow_first_byte", "drip",
)  # fmt: skip
MIX = "all that pass"
RATES = {True: (0.1, 0.25), False: (0.02, 0.1)}
QUICK = ("rate_limit", "malformed", MIX, "content_filter")
_STOCK = ("gepa", "miprov2")
_STOCK_THREADS = 8
_LONGEST = 150
_HEAD = (
    "fault", "rate", "optimizer", "threads", "run", "program", "calls", "known", "billed", "scored", "s",
    "stock", "stock program", "stock test", "stock scored", "stock calls", "stock tokens", "stock s",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One row before it is run."""

    fault: str
    rate: float
    case: Case

    @property
    def passing(self) -> bool:
        return self.fault not in FOR_GOOD


@dataclass(frozen=True)
class Done:
    """One side of a cell, and the provider's books of it."""

    outcome: Outcome
    books: Books


Side = Callable[[str, Case], Done]


def main() -> int:
    asked = _asked()
    if asked.cell:
        return _one(json.loads(asked.cell))
    if not asked.json:
        _row(_HEAD)
        _row(["---"] * len(_HEAD))
    providers = [Provider() for _ in range(asked.jobs)]
    hosts: SimpleQueue[Provider] = SimpleQueue()
    for provider in providers:
        hosts.put(provider)
    try:
        with ThreadPoolExecutor(asked.jobs) as pool:
            broken = _rows(list(_cells(asked)), pool, partial(_side, hosts), asked)
    finally:
        for provider in providers:
            provider.close()
    if not asked.json:
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"\n{os.cpu_count()} cores; load average {load}.")
    print(f"{len(broken)} broken laws" + "".join(f"\n* {law}" for law in broken), file=sys.stderr)
    return 1 if broken else 0


def _rows(cells: list[Cell], pool: ThreadPoolExecutor, side: Side, asked: argparse.Namespace) -> list[str]:
    """Run all cells and print a row for each; what broke, in words."""
    broken: list[str] = []
    clean = {key: pool.submit(side, *key) for key in _clean(cells, asked)}
    runs = [
        (cell, pool.submit(side, "ours", cell.case), _stock_of(cell, pool, side, asked)) for cell in cells
    ]
    for (side_of, case), run in clean.items():
        plain = run.result()
        if side_of == "ours":
            laws = broken_laws(plain.outcome, plain.outcome, plain.books, {})
            broken += [f"without faults {case.optimizer} {case.threads}: {law}" for law in laws]
    for cell, run, other in runs:
        whole = clean["ours", cell.case.clean].result().outcome
        found = run.result()
        laws = broken_laws(found.outcome, whole, found.books, dict(cell.case.faults))
        name = f"{cell.fault} {cell.rate:g} {cell.case.optimizer} {cell.case.threads}"
        broken += [f"{name}: {law}" for law in laws]
        beside = None if other is None else (clean["stock", cell.case.clean].result(), other.result())
        _show(cell, found, whole, beside, laws, json_lines=asked.json)
    return broken


def _cells(asked: argparse.Namespace) -> Iterator[Cell]:
    names = asked.fault or (QUICK if asked.quick else (*PASSING, MIX, *FOR_GOOD))
    for fault in names:
        passing = fault not in FOR_GOOD
        rates = asked.rate or (RATES[passing][-1:] if asked.quick or fault == MIX else RATES[passing])
        for rate in rates:
            # Together the rate.
            faults = (
                tuple((name, rate / len(PASSING)) for name in PASSING) if fault == MIX else ((fault, rate),)
            )
            for optimizer in _optimizers(asked.optimizer or _STOCK):
                for threads in asked.threads or ((8,) if asked.quick else (8, 16)):
                    yield Cell(fault, rate, Case(faults, optimizer, threads, asked.seed))


def _optimizers(asked: Iterable[str]) -> list[str]:
    return list(builtin_optimizers()) if "all" in asked else list(asked)


def _clean(cells: list[Cell], asked: argparse.Namespace) -> list[tuple[str, Case]]:
    needed = {("ours", cell.case.clean): None for cell in cells}
    if asked.stock:
        needed |= {("stock", cell.case.clean): None for cell in cells if _has_stock(cell)}
    return list(needed)


def _has_stock(cell: Cell) -> bool:
    """Stock waits whole seconds after each fault: the higher rate at 8 threads says it."""
    case = cell.case
    return (
        case.optimizer in _STOCK and case.threads == _STOCK_THREADS and cell.rate >= RATES[cell.passing][-1]
    )


def _stock_of(
    cell: Cell, pool: ThreadPoolExecutor, side: Side, asked: argparse.Namespace
) -> Future[Done] | None:
    return pool.submit(side, "stock", cell.case) if asked.stock and _has_stock(cell) else None


def _side(hosts: "SimpleQueue[Provider]", side: str, case: Case) -> Done:
    """One side of a case, in a process of its own."""
    host = hosts.get()
    try:
        url = host.begin(case)
        try:
            told = json.dumps({"side": side, "url": url, "case": asdict(case)})
            environ = {**os.environ, "DSPY_NOTEBOOK": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "true"}
            command = [sys.executable, __file__, "--cell", told]
            found = _outcome(command, environ)
        finally:
            books = host.end()
    finally:
        hosts.put(host)
    return Done(found, books)


def _outcome(command: list[str], environ: dict[str, str]) -> Outcome:
    """What a process says came of its side; one that does not end is told by its laws."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LONGEST, check=False, env=environ
        )
    except subprocess.TimeoutExpired:
        return Outcome("no end", None, {}, 0, [0, 0], [0.0, 0.0], 0, 0, 0, "", float(_LONGEST))
    if done.returncode != 0:
        raise SystemExit(f"{command[-1]}: {done.stderr[-2000:]}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _one(told: dict[str, Any]) -> int:
    """Run one side here and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        side = ours if told["side"] == "ours" else stock
        faults = tuple((name, rate) for name, rate in told["case"].pop("faults"))
        found = side(Path(folder), Case(faults, **told["case"]), told["url"])
    print(as_json(found), flush=True)
    os._exit(0)  # what an executor left running is not awaited


def _show(
    cell: Cell,
    found: Done,
    whole: Outcome,
    beside: tuple[Done, Done] | None,
    laws: list[str],
    *,
    json_lines: bool,
) -> None:
    if json_lines:
        value = {"cell": asdict(cell), "ours": asdict(found), "without_faults": asdict(whole), "broken": laws}
        if beside is not None:
            value |= {"stock_without_faults": asdict(beside[0]), "stock": asdict(beside[1])}
        print(json.dumps(value), flush=True)
        return
    head = [cell.fault.replace("_", " "), f"{cell.rate:.0%}", cell.case.optimizer, cell.case.threads]
    _row([*head, *_ours(found, whole), *_stock(beside)])


def _ours(done: Done, whole: Outcome) -> list[str]:
    found, books = done.outcome, done.books
    ended = found.status if not found.error else f"{found.status}: {found.error.split(':')[0]}"
    known = found.tokens[0] == books.read_tokens and abs((found.usd[0] or 0) - books.read_usd) < 1e-9
    billed = "in" if billed_right(found, books) else "OUT"
    return [
        f"{ended}, {found.excluded} excluded" if found.excluded else ended,
        _same(found, whole),
        f"{found.calls} = {books.requests}"
        if found.calls == books.requests
        else f"{found.calls} / {books.requests}",
        f"{found.tokens[0]:,} {'=' if known else 'NOT ' + format(books.read_tokens, ',')}",
        f"{books.tokens:,} {billed}" + (f" ({found.possibly_billed})" if found.possibly_billed else ""),
        str(found.failed_scores),
        f"{found.wall:.1f}",
    ]


def _stock(beside: tuple[Done, Done] | None) -> list[str]:
    if beside is None:
        return [""] * 7
    whole, done = beside
    found, books = done.outcome, done.books
    test, before = found.scores.get("optimized.test"), whole.outcome.scores.get("optimized.test")
    return [
        found.status,
        _same(found, whole.outcome),
        f"{_score(test)} ({_score(before)})",
        str(found.failed_scores),
        f"{found.calls} / {books.requests}",
        f"{found.tokens[0]:,} / {books.tokens:,}",
        f"{found.wall:.0f}",
    ]


def _same(found: Outcome, whole: Outcome) -> str:
    if found.hash is None:
        return "none"
    return "same" if found.hash == whole.hash else "OTHER"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _row(cells: Iterable[object]) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few faults at 8 threads")
    parser.add_argument("--fault", action="append", choices=(*PASSING, MIX, *FOR_GOOD))
    parser.add_argument("--rate", action="append", type=float)
    parser.add_argument("--optimizer", action="append", choices=("all", *builtin_optimizers()))
    parser.add_argument("--threads", action="append", type=int)
    parser.add_argument("--stock", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
