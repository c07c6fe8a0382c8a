"""What the tests of the stores share: jobs, leases, and processes that do something at the same moment."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import Job, Lease, NewJob
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import JOB

CHILD = Path(__file__).with_name("store_child.py")


def new_job(job_id: str = "20260101-000000-0000000001", **fields: Any) -> NewJob:
    return NewJob(job_id, fields.pop("kind", "optimization"), fields.pop("request", {"seed": 1}), **fields)


def queued(store: JobStore, job_id: str = "20260101-000000-0000000001", **fields: Any) -> Job:
    return store.create(new_job(job_id, **fields))[0]


def taken(store: JobStore, job: Job, worker: str = "worker-1") -> Lease:
    lease = store.claim(job.job_id, job.attempt, worker)
    assert isinstance(lease, Lease)
    return lease


def backdate(database: Database, job_id: str, **columns: Any) -> None:
    """Set columns past the store: time is the database's, and cannot be handed in."""
    database.write(lambda db: db.execute(sa.update(JOB).where(JOB.c.job_id == job_id).values(**columns)))


def at_once(database: Database, workspace: Path, tasks: Sequence[dict[str, Any]]) -> list[Any]:
    """Each task in a process of its own, all begun at the same moment; what they answer, in order."""
    place = {"workspace": str(workspace), "url": database.url}
    processes = [
        subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in tasks
    ]
    try:
        for process, task in zip(processes, tasks, strict=True):
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps(place | task) + "\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout and process.stdout.readline() == "ready\n", process.communicate()
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [_answer(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
    return [json.loads(answer) for answer in answers]


def _answer(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out
