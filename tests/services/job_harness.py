"""Jobs without a worker: a store, workspaces, and the real process of a job, started as a worker does."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from skill_fleet.config.load import load
from skill_fleet.config.paths import shipped_trainset
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.records import Job, JobEvent, Lease, NewJob
from skill_fleet.jobs.store import JobStore

PROCESS = (sys.executable, "-X", "faulthandler", "-m", "skill_fleet.services.job_process")
SLOW = (sys.executable, str(Path(__file__).parent / "programs" / "slow_job.py"))
TASK = "Write a skill that tells how to find with git the commit that broke a build, for backend developers."
LONGEST = 100.0
THREADS = 2


def small_trainset(groups: int = 12) -> list[dict[str, Any]]:
    """One example of each of some groups of the shipped training set."""
    found: dict[str, dict[str, Any]] = {}
    for item in json.loads(shipped_trainset().read_text()):
        found.setdefault(item["group"], item)
    return list(found.values())[:groups]


def small_run(**more: Any) -> dict[str, Any]:
    """The request of an optimization of some hundred calls."""
    asked = {"optimizer": "miprov2", "trainset": small_trainset(), "trials": 2, "rounds": 1}
    return {**asked, "num_threads": THREADS, "save_path": "small.json", "seed": 3, **more}


@dataclass
class Stand:
    """A store and the processes of its jobs.

    Attributes:
        root: Where workspaces are made.
        url: Of PostgreSQL; None is SQLite in the workspace `one`.
        environ: What every process gets on top of its own environment.
    """

    root: Path
    url: str | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database: Database = open_database(load(self.workspace("one"), environ={}).workspace, self.url)
        prepare_database(self.database, queue=False)
        self.store = JobStore(self.database)
        self.files = FileStore(self.database)
        self._started: list[subprocess.Popen[bytes]] = []

    def workspace(self, name: str) -> Path:
        """A workspace; a new one is empty."""
        place = self.root / name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def job(self, name: str, request: Mapping[str, Any], kind: str = "optimization", **more: Any) -> Job:
        """A job in the queue."""
        made, _ = self.store.create(NewJob(f"20260101-000000-{name:0>10}", kind, request, **more))  # type: ignore[arg-type]
        return made

    def claimed(self, job: Job) -> Lease:
        """The job's lease."""
        lease = self.store.claim(job.job_id, self.store.get(job.job_id).attempt, "worker")
        assert isinstance(lease, Lease), lease
        return lease

    def start(
        self, lease: Lease, workspace: str = "one", command: Sequence[str] = PROCESS
    ) -> "subprocess.Popen[bytes]":
        """The process of a job, its standard input held open."""
        environ = {
            **os.environ,
            "TEST_LOG": str(self.root / "asked.log"),
            "TEST_LATENCY": "0.15",
            **self.environ,
        }
        if self.url is not None:
            environ["SKILL_FLEET_DATABASE_URL"] = self.url
        with (self.root / "stderr.txt").open("ab") as stderr:
            process = subprocess.Popen(
                [*command, lease.job_id, str(lease.fence), lease.worker],
                cwd=self.workspace(workspace),
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        self._started.append(process)
        return process

    def run(self, job: Job, workspace: str = "one", command: Sequence[str] = PROCESS) -> int:
        """Take the job up and wait for the end of its process; its exit code."""
        process = self.start(self.claimed(job), workspace, command)
        try:
            return process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # it says where each of its threads is
            process.wait()
            raise AssertionError(f"it does not end:\n{self.stderr()}") from None

    def now(self, job: Job) -> Job:
        """The job as it stands."""
        return self.store.get(job.job_id)

    def events(self, job: Job) -> list[JobEvent]:
        """All of the job's events."""
        return self.store.events(job.job_id, 0, 10_000)

    def attempts(self) -> list[tuple[str, str]]:
        """Key and state of every attempt in the ledger."""
        if self.url is not None:
            query = sa.text("select key, state from skill_fleet.attempt")
            return [(row[0], row[1]) for row in self.database.read(lambda db: db.execute(query).all())]
        ledger = self.root / "one" / ".skill-fleet" / "ledger.sqlite"
        if not ledger.exists():
            return []
        with contextlib.closing(sqlite3.connect(ledger, timeout=10)) as db:
            try:
                return list(db.execute("select key, state from attempt").fetchall())
            except sqlite3.OperationalError:
                return []  # the schema is being made

    def paid_twice(self) -> int:
        """Keys that were answered more than once."""
        settled = [key for key, state in self.attempts() if state == "settled"]
        return len(settled) - len(set(settled))

    def lost(self) -> int:
        """Attempts that were open when their process died."""
        return sum(state == "lost" for _, state in self.attempts())

    def asked(self) -> list[float]:
        """When the slow model was asked, in seconds since 1970."""
        log = self.root / "asked.log"
        return [float(line) for line in log.read_text().split()] if log.exists() else []

    def stderr(self) -> str:
        """What all processes said."""
        return (self.root / "stderr.txt").read_text()

    def until(self, true: Callable[[], bool], what: str, seconds: float = LONGEST) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.stderr()}"
            time.sleep(0.01)

    def close(self) -> None:
        """End what is left."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self.database.engine.dispose()


@contextlib.contextmanager
def stand(root: Path, url: str | None = None, **environ: str) -> Iterator[Stand]:
    """A stand for as long as it is needed."""
    made = Stand(root, url, environ)
    try:
        yield made
    finally:
        made.close()
