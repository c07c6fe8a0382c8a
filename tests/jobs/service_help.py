"""`skill-fleet serve` and `skill-fleet worker` as people start them, real jobs, and blows to them."""

import contextlib
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

sys.path.append(str(Path(__file__).resolve().parents[1] / "services"))

from job_harness import small_run, stand

from running_service import spawned
from skill_fleet.jobs.records import Job

if TYPE_CHECKING:
    from subprocess import Popen

    from jobs.workers_help import Fleet

EXPIRY = 2.0
Blow = Literal["process", "child", "standstill"]
BLOWS: tuple[Blow, ...] = ("process", "child", "standstill")


def request(seed: int) -> dict[str, Any]:
    """A real optimization of some hundred calls with the built-in model, which no other seed shares."""
    return small_run(seed=seed, save_path=f"n{seed}.json")


def undisturbed(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The result of a request when nothing happens to it."""
    with stand(folder) as one:
        job = one.job("whole", asked)
        assert one.run(job) == 0, one.stderr()
        result = one.now(job).result
        assert result is not None
        return dict(result)


@dataclass
class Site:
    """Processes of the service on one database: one server with its worker on SQLite, workers on PostgreSQL.

    Each worker has a workspace of its own; the server's is the database's.

    Attributes:
        fleet: The database, and jobs in it; its workers are not used.
        workers: How many.
        environ: What their processes get on top of their own environment.
    """

    fleet: "Fleet"
    workers: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.processes = [self._started(number) for number in range(self.workers)]
        for number in range(self.workers):
            self.wait_ready(number)

    def wait_ready(self, number: int) -> None:
        """Until it has said that it works."""
        process = self.processes[number]
        assert process.stdout is not None
        assert process.stdout.readline(), (self._place(number) / "stderr.txt").read_text()

    def children(self, number: int) -> list[int]:
        """The processes of jobs of one process of the service."""
        return [pid for pid in _children(self.processes[number].pid) if b"job_process" in _words(pid)]

    def restart(self, number: int) -> None:
        """Kill it without a word, and start another one in its place."""
        self._end(self.processes[number])
        self.processes[number] = self._started(number)

    def strike(self, number: int, blow: Blow, rng: random.Random) -> Blow:
        """Kill a process of the service or of a job, or let all of it stand still longer than a heartbeat.

        Returns:
            What was done: without a process of a job there, the service's is killed.
        """
        children = self.children(number)
        if blow == "standstill":
            still = [self.processes[number].pid, *children]
            send(signal.SIGSTOP, *still)
            time.sleep(1.5 * EXPIRY)
            send(signal.SIGCONT, *still)
        elif blow == "child" and children:
            send(signal.SIGKILL, rng.choice(children))
        else:
            self.restart(number)
            return "process"
        return blow

    def holder(self, job: Job) -> int | None:
        """Which process of the service has a job; None of one that is gone."""
        pids = [str(process.pid) for process in self.processes]
        pid = str(job.worker).split("-")[-2:][0]
        return pids.index(pid) if pid in pids else None

    def attempts(self, job_id: str) -> list[tuple[str, str]]:
        """Key and state of every attempt at a call that the ledger has of a job."""
        if not self.fleet.database.is_sqlite:
            query = sa.text("select key, state from skill_fleet.attempt where run = :run")
            rows = self.fleet.database.read(lambda db: db.execute(query, {"run": job_id}).all())
            return [(key, state) for key, state in rows]
        ledger = self.fleet.folder / ".skill-fleet" / "ledger.sqlite"
        with contextlib.closing(sqlite3.connect(ledger, timeout=10)) as db:
            try:
                return list(db.execute("select key, state from attempt where run = ?", (job_id,)).fetchall())
            except sqlite3.OperationalError:
                return []  # the schema is being made

    def faults(self, job_id: str, program_hash: str) -> list[str]:
        """What is not as if nothing had happened to a job."""
        job = self.fleet.store.get(job_id)
        ends = [data["status"] for kind, data in self.fleet.told(job_id) if kind == "status"]
        found = [] if ends == ["succeeded"] else [f"ended as {ends}, {job.error}"]
        result = job.result or {}
        if result.get("program_hash") != program_hash:
            found.append(f"program {result.get('program_hash')} instead of {program_hash}")
        attempts = self.attempts(job_id)
        if twice := answered_twice(attempts):
            found.append(f"{twice} calls answered twice")
        if job.calls != len(attempts):
            found.append(f"{job.calls} calls counted of {len(attempts)}")
        return found

    def close(self) -> None:
        """End all."""
        for process in self.processes:
            self._end(process)

    def _place(self, number: int) -> Path:
        place = self.fleet.folder if self.fleet.url is None else self.fleet.folder / f"worker{number}"
        place.mkdir(exist_ok=True)
        return place

    def _started(self, number: int) -> "Popen[str]":
        environ = {"SKILL_FLEET_SERVER__HEARTBEAT_SECONDS": str(EXPIRY), **self.environ}
        if self.fleet.url is None:
            return spawned(self._place(number), "serve", "--json", "--port", "0", **environ)
        environ["SKILL_FLEET_DATABASE_URL"] = self.fleet.url
        return spawned(self._place(number), "worker", "--json", **environ)

    @staticmethod
    def _end(process: "Popen[str]") -> None:
        process.kill()
        process.communicate()


def answered_twice(attempts: list[tuple[str, str]]) -> int:
    """Calls whose answer was paid more than once."""
    settled = [key for key, state in attempts if state == "settled"]
    return len(settled) - len(set(settled))


def send(number: int, *pids: int) -> None:
    """A signal to processes, of which some may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in thread.read_text().split()]
    return found


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
