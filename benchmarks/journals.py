"""Calls a second through `FleetLM`, at no latency: the journal in files beside the journal in PostgreSQL.

    uv run python benchmarks/journals.py [--seed 0] [--repeat 3] [--calls 1500]

The PostgreSQL runs on this machine, from a wheel, and waits for its disk at every commit, as SQLite does not
at every one: each cell is a process of its own; the repetitions take turns.

* `threads`: threads that call at once, under a lease as a job has it.
* `calls`: `miss`: nobody asked before; `hit`: asked before in this process; `hit, new process`: asked before
  by a process that has ended.
* `files`, `PostgreSQL`: calls a second, median (least-most) of the repetitions.
* `ratio`: of these medians.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "tests")]

from cache import PROMPT, AtOnce, rate, told  # noqa: E402
from postgres import Postgres, running_postgres  # noqa: E402

THREADS = (1, 8)
KINDS = ("miss", "hit", "hit, new process")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1500)
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.cell is not None:
        json.dump(cell(**json.loads(asked.cell)), sys.stdout)
        return 0
    began = time.perf_counter()
    with running_postgres(durable=True) as server:
        rates = measured(server, asked.seed, asked.repeat, asked.calls)
    print("| threads | calls | files | PostgreSQL | ratio |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        for threads in THREADS:
            files, database = (rates[kind, threads, where] for where in ("files", "PostgreSQL"))
            ratio = statistics.median(one for one, _ in database) / statistics.median(one for one, _ in files)
            print(f"| {threads} | {kind} | {told(files)} | {told(database)} | {ratio:.2f} |")
    print(f"{time.perf_counter() - began:.0f} s", file=sys.stderr)
    return 0


def measured(server: Postgres, seed: int, repeat: int, calls: int) -> dict[tuple[str, int, str], Any]:
    rates: dict[tuple[str, int, str], Any] = defaultdict(list)
    order = random.Random(seed)
    for number in range(repeat):
        for threads in THREADS:
            turns = ["files", "PostgreSQL"]
            order.shuffle(turns)
            for where in turns:
                seen = started(server, where, threads=threads, calls=calls, seed=seed * 1000 + number)
                for kind in KINDS:
                    rates[kind, threads, where].append(tuple(seen[kind]))
    return rates


def started(server: Postgres, where: str, **options: Any) -> dict[str, Any]:
    """What two processes on one fresh store measured: the second finds what the first has stored."""
    seen: dict[str, Any] = {}
    url = prepared(server) if where == "PostgreSQL" else None
    with tempfile.TemporaryDirectory() as folder:
        for again in (False, True):
            request = json.dumps({**options, "url": url, "folder": folder, "again": again})
            command = [sys.executable, __file__, "--cell", request]
            seen |= json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return seen


def prepared(server: Postgres) -> str:
    """A new database with the tables, and a lease."""
    from skill_fleet.config.paths import Workspace
    from skill_fleet.jobs.database import open_database, prepare_database

    url = server.new_database()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Workspace.at(Path(folder), {}), url)
        prepare_database(database, queue=False)
        with database.engine.begin() as db:
            db.exec_driver_sql("insert into skill_fleet.lease values ('benchmark', 1, 'w', 0)")
        database.close()
    return url


def cell(url: str | None, threads: int, calls: int, seed: int, folder: str, *, again: bool) -> dict[str, Any]:
    """Calls a second by kind."""
    from skill_fleet.config.paths import Workspace
    from skill_fleet.config.settings import ModelSpec
    from skill_fleet.foundation.clock import SYSTEM_CLOCK
    from skill_fleet.jobs.records import Lease
    from skill_fleet.llm.budget import Account, Gate, Limits
    from skill_fleet.llm.calls.engine import Line, MeteredEngine
    from skill_fleet.llm.fleet_lm import FleetLM
    from skill_fleet.llm.journal.journals import journal_at
    from skill_fleet.llm.pricing import price_of
    from skill_fleet.llm.providers.provider import Awaitable

    model = AtOnce()
    place = Workspace.at(Path(folder), {})
    journal = journal_at(place, url, lease=Lease("benchmark", 1, "w"))
    spec = ModelSpec(model="offline/at-once", temperature=0.5)
    line, gate = Line(journal, "benchmark", SYSTEM_CLOCK), Gate(Account(Limits(), SYSTEM_CLOCK))
    lm = FleetLM(MeteredEngine(Awaitable(model), spec, line, gate, price_of(spec)), temperature=0.5)
    prompts = [f"{PROMPT} Number {seed}-{number}." for number in range(calls)]
    lm("imports, connections and caches are warm")
    first = rate(lm, prompts, threads)
    seen = {"hit, new process": first} if again else {"miss": first, "hit": rate(lm, prompts, threads)}
    assert model.asked == (0 if again else calls + 1), model.asked
    journal.close()
    return seen


if __name__ == "__main__":
    sys.exit(main())
