"""Workers as processes of their own, and jobs for them."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.queue import JOBS_VERSION, JobQueue
from skill_fleet.jobs.records import Job, Lease, NewJob
from skill_fleet.jobs.runner import Interruption, Outcome, Runner
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.supervise import ChildRunner
from skill_fleet.jobs.worker import RunningWorker, WorkerSettings

PROGRAMS = Path(__file__).resolve().parent / "programs"
HEARTBEAT = 2.5
LONGEST = 60.0
"""Seconds that are waited for what happens in one or two: a busy machine is slow, which is no failure."""
QUICK = {"heartbeat_seconds": HEARTBEAT, "poll_seconds": 0.1, "grace_seconds": 1.0}


class NothingRunner:
    """Does nothing for a while, and writes down that it was done."""

    def __init__(self, store: JobStore, seconds: float) -> None:
        self.store, self.seconds = store, seconds

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        if self.seconds:
            try:
                async with asyncio.timeout(self.seconds):
                    await interruption.wait()
                return Outcome("interrupted")
            except TimeoutError:
                pass
        await asyncio.to_thread(self.store.conclude, lease, "succeeded", result={"worker": lease.worker})
        return Outcome("concluded")


@dataclass
class WorkerProcess:
    """A worker's process.

    Attributes:
        popen: The process.
        name: Its worker's.
    """

    popen: subprocess.Popen[str]
    name: str = ""

    def wait_ready(self) -> "WorkerProcess":
        assert self.popen.stdout is not None
        said = self.popen.stdout.readline().split()
        assert said[:1] == ["ready"], f"the worker does not begin: {said} {self.error()}"
        self.name = said[1]
        return self

    def error(self) -> str:
        self.popen.wait(LONGEST)
        assert self.popen.stderr is not None
        return self.popen.stderr.read()

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(LONGEST)

    def stop(self) -> float:
        """End it in order; how long that took."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        assert self.popen.wait(LONGEST) == 0, self.error()
        return time.monotonic() - begun

    def children(self) -> list[int]:
        """The processes of its jobs."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.popen.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]


@dataclass
class Fleet:
    """Workers on one database.

    Attributes:
        folder: Of the workspace.
        url: Of the database; None where it is embedded.
        database: The same, opened by the test.
    """

    folder: Path
    url: str | None
    database: Database
    processes: list[WorkerProcess] = field(default_factory=list)
    worker_here: RunningWorker | None = None

    def __post_init__(self) -> None:
        self.store = JobStore(self.database)
        self.queue = JobQueue(self.database)

    def worker(self, *, ready: bool = True, **settings: Any) -> WorkerProcess:
        """Start one more, in a process of its own."""
        popen = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "worker.py"), json.dumps(QUICK | settings)],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(WorkerProcess(popen))
        return self.processes[-1].wait_ready() if ready else self.processes[-1]

    def here(
        self,
        *,
        nothing: float | None = None,
        runner: Runner | None = None,
        version: str = JOBS_VERSION,
        **settings: Any,
    ) -> RunningWorker:
        """A worker in this process: a quicker start. Its jobs are children, or do `nothing` for so long."""
        chosen = WorkerSettings(**(QUICK | settings))
        command = (sys.executable, str(PROGRAMS / "child.py"))
        children = ChildRunner(command, self.environment(), self.folder, chosen.grace_seconds)
        usual = children if nothing is None else NothingRunner(self.store, nothing)
        self.worker_here = RunningWorker.start(self.database, chosen, runner or usual, version=version)
        return self.worker_here

    def environment(self) -> dict[str, str]:
        """Of workers and children."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET")}
        return given if self.url is None else given | {"SKILL_FLEET_DATABASE_URL": self.url}

    def children(self, job_id: str) -> list[int]:
        """The processes that have got a job further, in order."""
        pids = [data["pid"] for kind, data in self.told(job_id) if kind == "step"]
        return list(dict.fromkeys(pids))

    def job(
        self, *, provider: str = "offline", priority: int = 50, enqueue: bool = True, **request: Any
    ) -> str:
        """Ask for one more job; its name."""
        name = f"20260101-000000-{next(_numbers):010x}"
        new = NewJob(name, "optimization", request, provider=provider, priority=priority)
        job, _ = self.store.create(new)
        if enqueue:
            self.put_in(job)
        return name

    def put_in(self, job: Job) -> None:
        self.queue.enqueue(job)
        self.store.enqueued(job.job_id, job.attempt)

    def wait(
        self, job_id: str, *statuses: str, within: float = LONGEST, until: Callable[[Job], bool] | None = None
    ) -> Job:
        """The job, as soon as it is in one of the statuses."""
        end = time.monotonic() + within
        while True:
            job = self.store.get(job_id)
            if (job.status in statuses) if until is None else until(job):
                return job
            assert time.monotonic() < end, f"{job.status}, not {statuses}: {self.told(job_id)}"
            time.sleep(0.03)

    def told(self, job_id: str) -> list[tuple[str, dict[str, Any]]]:
        return [(event.kind, dict(event.data)) for event in self.store.events(job_id)]

    def counts(self, job_id: str) -> Counter[str]:
        """How many events of each kind."""
        return Counter(kind for kind, _ in self.told(job_id))

    def span(self, job_id: str) -> tuple[float, float]:
        """From when to when a job was run, on the database's clock."""
        at = {event.kind: datetime.fromisoformat(event.at).timestamp() for event in self.store.events(job_id)}
        return at["taken_up"], at["status"]

    def close(self) -> None:
        if self.worker_here is not None:
            self.worker_here.stop()
        for process in self.processes:
            if process.popen.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send(signal.SIGCONT)
                process.kill()
            for stream in (process.popen.stdout, process.popen.stderr):
                if stream is not None:
                    stream.close()
        self.queue.close()


def _count() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_numbers = _count()


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of these overlapped at the worst moment."""
    edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    return most


def within(so: Callable[[], Any], what: str = "", seconds: float = LONGEST) -> Any:
    """What a question answers, as soon as it is something."""
    until = time.monotonic() + seconds
    while not (found := so()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    """Whether there is no such process, or only what is left of one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
