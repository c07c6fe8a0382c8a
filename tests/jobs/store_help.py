"""What the tests of the stores share: jobs, leases, and processes that do something at the same moment."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import Job, Lease, NewJob
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import JOB
from skill_fleet.llm.journal.database_tables import VERSION

CHILD = Path(__file__).with_name("store_child.py")


def new_job(job_id: str = "20260101-000000-0000000001", **fields: Any) -> NewJob:
    return NewJob(job_id, fields.pop("kind", "optimization"), fields.pop("request", {"seed": 1}), **fields)


def queued(store: JobStore, job_id: str = "20260101-000000-0000000001", **fields: Any) -> Job:
    return store.create(new_job(job_id, **fields))[0]


def taken(store: JobStore, job: Job, worker: str = "worker-1") -> Lease:
    lease = store.claim(job.job_id, job.attempt, worker)
    assert isinstance(lease, Lease)
    return lease


ADDED = {
    "0002": ("usd_most", "possibly_billed"),
    "0003": ("deaths",),
    "0004": ("max_tokens", "max_minutes"),
}
"""The columns of a job that each revision of the tables has added."""


def taken_back(database: Database, revision: str) -> None:
    """Make the tables those of an earlier revision."""
    schema = "" if database.is_sqlite else "skill_fleet."
    columns = [column for added, names in ADDED.items() if added > revision for column in names]
    for column in columns:
        database.write(
            lambda db, name=column: db.execute(sa.text(f"alter table {schema}job drop column {name}"))
        )
    database.write(lambda db: db.execute(sa.update(VERSION).values(version_num=revision)))


def backdate(database: Database, job_id: str, **columns: Any) -> None:
    """Set columns past the store: time is the database's, and cannot be handed in."""
    database.write(lambda db: db.execute(sa.update(JOB).where(JOB.c.job_id == job_id).values(**columns)))


class Processes:
    """Processes that begin each its task at the same moment; started once, since that takes a second.

    Args:
        number: How many.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, str(CHILD)]
        self._running = [subprocess.Popen(command, **pipes) for _ in range(self._number)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            # One that died before may have left a line unread.
            with contextlib.suppress(BrokenPipeError), process:  # closes its pipes, and waits for it
                pass

    def at_once(self, database: Database, workspace: Path, tasks: Sequence[dict[str, Any]]) -> list[Any]:
        """What the processes answer to their tasks, in order."""
        place = {"workspace": str(workspace), "url": database.url}
        for process, task in zip(self._running, tasks, strict=True):
            _tell(process, json.dumps(place | task))
        for process in self._running:
            assert _hear(process) == "ready"
        for process in self._running:
            _tell(process, "go")
        return [json.loads(_hear(process)) for process in self._running]


def _tell(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdin
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().rstrip("\n")
