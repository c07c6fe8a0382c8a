"""The job queue under kill -9, SIGSTOP and load, with real worker processes: every job ends once.

    uv run python benchmarks/jobs.py --kills 30
    uv run python benchmarks/jobs.py --drain 10000
    uv run python benchmarks/jobs.py --real 30 --blows 30 --store sqlite
    uv run python benchmarks/jobs.py --real 100 --store postgresql --workers 4
    uv run python benchmarks/jobs.py --idle

* `--kills N`: so many times on each store, at random moments, a worker or the process of a job is killed, or
  a worker is stopped for longer than its heartbeat; a killed worker is replaced. SQLite has one worker;
  PostgreSQL has 1, 2 and 4 in turn. `taken up after`: from the kill of a worker to the next taking-up of a
  job of its; it contains the heartbeat that has to expire (on SQLite: the start of the next worker).
* `--drain N`: so many jobs that do nothing, on PostgreSQL with 4 worker processes. `most at once` is counted
  from the database's own times of the first and last event of each job.
* `--real N`: so many small optimizations with the built-in model, each with a seed of its own, by
  `skill-fleet serve` on SQLite and by `skill-fleet worker` on PostgreSQL; `--store` is only one of them, and
  `--workers` only so many. `--blows M` times the process of the service is killed and replaced, or that of a
  job is killed, or both stand still for longer than the heartbeat. `wrong`: it ended not once, or in another
  program than without blows, or a call was answered twice, or the calls told are not those of the ledger.
  `taken up again after`: from the kill of a process of the service to the next taking-up of a job of its.
* `--idle`: CPU and memory of a worker without jobs.

It ends with exit code 1 when a job was lost, ended twice, or did a step twice.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "jobs"))

import sqlalchemy as sa
from workers_help import Fleet, WorkerProcess, most_at_once

from postgres import running_postgres
from real_jobs import references, struck
from skill_fleet.config.paths import Workspace
from skill_fleet.jobs.database import open_database, prepare_database

STEPS, SECONDS = 12, 0.12
HEARTBEAT = 2.0
VICTIMS = ("worker", "worker", "child", "standstill")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=0, help="on each store")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], help="only this one")
    parser.add_argument("--drain", type=int, default=0, help="so many jobs")
    parser.add_argument(
        "--workers", type=int, help="on PostgreSQL; 4 for the drain, 1, 2 and 4 for the real ones"
    )
    parser.add_argument("--at-once", type=int, default=8, help="jobs of each worker, for the drain")
    parser.add_argument("--everywhere", type=int, default=None, help="jobs of all workers, for the drain")
    parser.add_argument("--real", type=int, default=0, help="so many optimizations")
    parser.add_argument("--blows", type=int, default=0, help="for the real ones")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    wrong = 0
    if asked.kills:
        rng = random.Random(asked.seed)
        if asked.store != "postgresql":
            wrong += kills("SQLite", None, 1, asked.kills, rng)
        if asked.store != "sqlite":
            with running_postgres() as server:
                for workers in (1, 2, 4):
                    count = asked.kills // 3 + (workers == 4) * (asked.kills % 3)
                    wrong += kills("PostgreSQL", server.new_database(), workers, count, rng)
    if asked.drain:
        with running_postgres() as server:
            wrong += drain(server.new_database(), asked.workers or 4, asked)
    if asked.real:
        wrong += real(asked)
    if asked.idle:
        idle()
    return 1 if wrong else 0


@contextlib.contextmanager
def a_fleet(url: str | None) -> Iterator[Fleet]:
    """A fresh workspace and database, without workers yet."""
    with tempfile.TemporaryDirectory(prefix="skill-fleet-jobs-") as folder:
        database = open_database(Workspace.at(Path(folder), {}), url, patience_seconds=10)
        prepare_database(database)
        fleet = Fleet(Path(folder), url, database)
        try:
            yield fleet
        finally:
            fleet.close()
            database.close()


@dataclass
class Tally:
    """What was done to the workers, and how long it took until their jobs were taken up again."""

    done: Counter[str] = field(default_factory=Counter)
    taken_after: list[float] = field(default_factory=list)


def kills(store: str, url: str | None, workers: int, count: int, rng: random.Random) -> int:
    with a_fleet(url) as fleet:
        began = time.monotonic()
        here = [fleet.worker(heartbeat_seconds=HEARTBEAT) for _ in range(workers)]
        jobs: list[str] = []
        tally = Tally()
        for _ in range(count):
            while len(fleet.store.page(statuses=("queued", "running"), limit=99)) < 2 * workers + 1:
                jobs.append(fleet.job(steps=STEPS, seconds=SECONDS))
            time.sleep(rng.uniform(0.2, 2.0))
            strike(fleet, here, rng, tally)
        for job in jobs:
            fleet.wait(job, "succeeded", "failed", within=90)
        wrong = [job for job in jobs if not ended_once(fleet, job)]
        took = time.monotonic() - began
        again = sum(fleet.store.get(job).fence > 1 for job in jobs)
        late = max(tally.taken_after, default=0.0)
        blows = ", ".join(f"{n} {kind}" for kind, n in sorted(tally.done.items()))
        print(
            f"{store}, {workers} worker{'s' * (workers > 1)}: {blows}; {len(jobs)} jobs, "
            f"{again} taken up again, {len(wrong)} wrong; "
            f"taken up after {median(tally.taken_after or [0]):.1f} s "
            f"(most {late:.1f}; heartbeat {HEARTBEAT:.0f}); {took:.0f} s",
            flush=True,
        )
        for job in wrong:
            print("  ", job, fleet.told(job))
        return len(wrong)


def strike(fleet: Fleet, here: list[WorkerProcess], rng: random.Random, tally: Tally) -> None:
    """Do something bad to one worker, and see it put right."""
    victim = rng.randrange(len(here))
    worker = here[victim]
    kind = rng.choice(VICTIMS)
    mine = [job for job in fleet.store.page(statuses=("running",), limit=99) if job.worker == worker.name]
    if kind == "child":
        children = worker.children()
        if not children:
            kind = "worker"
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(children), signal.SIGKILL)
    if kind == "standstill":
        worker.send(signal.SIGSTOP)
        time.sleep(HEARTBEAT * 1.5)
        worker.send(signal.SIGCONT)
    if kind == "worker":
        at = time.monotonic()
        worker.kill()
        here[victim] = fleet.worker(ready=False, heartbeat_seconds=HEARTBEAT)
        for job in mine:
            again = fleet.wait(
                job.job_id, until=lambda now, job=job: now.fence > job.fence or now.over, within=60
            )
            if again.fence > job.fence:
                tally.taken_after.append(time.monotonic() - at)
        here[victim].wait_ready()
    tally.done[kind] += 1


def ended_once(fleet: Fleet, job_id: str) -> bool:
    told = fleet.told(job_id)
    ends = [data["status"] for kind, data in told if kind == "status"]
    return ends == ["succeeded"] and [d["step"] for kind, d in told if kind == "step"] == [
        *range(1, STEPS + 1)
    ]


def drain(url: str, number: int, asked: Any) -> int:
    with a_fleet(url) as fleet:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            jobs = list(pool.map(lambda _: fleet.job(provider="abcd"[_ % 4]), range(asked.drain)))
        put_in = time.monotonic() - began
        limits = {"jobs_at_once": asked.at_once, "jobs_everywhere": asked.everywhere}
        workers = [
            fleet.worker(ready=False, runner="nothing", poll_seconds=0.05, heartbeat_seconds=15, **limits)
            for _ in range(number)
        ]
        for worker in workers:
            worker.wait_ready()
        began = time.monotonic()
        while fleet.store.page(statuses=("queued", "running"), limit=1):
            time.sleep(0.25)
        took = time.monotonic() - began
        rows = events(fleet)
        spans = {job: (at["taken_up"][0], at["status"][0]) for job, at in rows.items()}
        wrong = [
            job for job in jobs if {k: len(v) for k, v in rows[job].items()} != {"taken_up": 1, "status": 1}
        ]
        shares = Counter(fleet.store.get(job).worker for job in jobs[:: max(1, len(jobs) // 1000)])
        spread = ", ".join(f"{n / sum(shares.values()):.0%}" for n in sorted(shares.values()))
        limit = asked.everywhere or number * asked.at_once
        print(
            f"{len(jobs)} jobs that do nothing, PostgreSQL, {number} workers: put in at "
            f"{len(jobs) / put_in:.0f}/s, drained at {len(jobs) / took:.0f}/s ({took:.1f} s), "
            f"{len(wrong)} lost or doubled; most at once {most_at_once(list(spans.values()))} "
            f"(limit {limit}); shares {spread}",
            flush=True,
        )
        return len(wrong)


def real(asked: Any) -> int:
    """Real jobs on each store that is asked for; PostgreSQL with each number of workers."""
    rng = random.Random(asked.seed)
    hashes = references(asked.real)
    wrong = 0
    if asked.store != "postgresql":
        with a_fleet(None) as fleet:
            wrong += struck(fleet, 1, asked.blows, hashes, rng)
    if asked.store != "sqlite":
        with running_postgres() as server:
            for workers in [asked.workers] if asked.workers else (1, 2, 4):
                with a_fleet(server.new_database()) as fleet:
                    wrong += struck(fleet, workers, asked.blows, hashes, rng)
    return wrong


def events(fleet: Fleet) -> dict[str, dict[str, list[float]]]:
    """When each job was taken up and ended, by the database's clock."""
    statement = sa.text(
        "select job_id, kind, at from skill_fleet.job_event where kind in ('taken_up', 'status')"
    )
    found: dict[str, dict[str, list[float]]] = {}
    for job_id, kind, at in fleet.database.read(lambda db: db.execute(statement).all()):
        found.setdefault(job_id, {}).setdefault(kind, []).append(float(at))
    return found


def idle() -> None:
    with a_fleet(None) as fleet:
        worker = fleet.worker(runner="nothing", poll_seconds=0.5, heartbeat_seconds=15)
        time.sleep(3)
        before = cpu(worker.popen.pid)
        time.sleep(20)
        used = (cpu(worker.popen.pid) - before) / 20
        status = Path(f"/proc/{worker.popen.pid}/status").read_text()
        memory = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"idle worker, SQLite: {used:.1%} of a core, {int(memory) / 1024:.0f} MB", flush=True)


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
