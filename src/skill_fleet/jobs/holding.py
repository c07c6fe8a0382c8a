"""What only the holder of a job's lease may do: tell how far it is, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.foundation.errors import LeaseLost
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.event_store import Events, add_events
from skill_fleet.jobs.job_rows import change, check_lease, held, locked, release, said, settle
from skill_fleet.jobs.outcomes import keep_outcome
from skill_fleet.jobs.records import OVER, Job, Lease, Spending, Status, Wanted
from skill_fleet.jobs.rows import encode, encode_or_none, result_columns
from skill_fleet.jobs.spending import book, book_all
from skill_fleet.jobs.tables import JOB, LEASE, database_now
from skill_fleet.jobs.transitions import granted

Result = Mapping[str, Any]

DEATHS = 20
"""So often a job may be ended from outside without getting further: its workers die, or signals reach it.

Machines are restarted, and that is not the job's doing; but one that takes more memory than there is may take
each worker along, and must not do so for ever.
"""


@dataclass(frozen=True)
class Look:
    """What the holder of a job sees of it.

    Attributes:
        wanted: What somebody asked for.
        changes: Rises with everything that is told of the job.
    """

    wanted: Wanted | None
    changes: int


class JobHolding:
    """Writing for a job that was taken up. Every method raises `LeaseLost` for who holds the lease no more.

    Args:
        database: Where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def claim(self, job_id: str, attempt: int, worker: str) -> Lease | Job:
        """Take a job up; whoever held it before has lost it.

        A wish that its last holder did not live to see comes true here. A holder that died without a word is
        counted, apart from crashes: a job that takes its workers along has failed after many of them.

        Returns:
            The lease, or the job where there is nothing to do: it is over, paused, or of another attempt.

        Raises:
            NotFound, Removed: There is no such job.
        """
        return self.database.write(lambda db: self._claim(db, job_id, attempt, worker))

    def look(self, lease: Lease) -> Look:
        """What is wanted of the job, and whether anything was told of it since the last look."""
        return self.database.read(lambda db: _look(db, lease))

    def progress(
        self,
        lease: Lease,
        *,
        progress: float | None = None,
        message: str | None = None,
        spending: Spending | None = None,
        partial: Result | None = None,
    ) -> Wanted | None:
        """Tell how far the job is, and learn what is wanted of it.

        Without anything to tell this only reads. Neither progress nor what was spent ever falls.

        Args:
            lease: The right to do so.
            progress: From 0 to 1. When it rises, earlier crashes and deaths are forgiven.
            message: What it is at.
            spending: What it has spent so far, over all attempts.
            partial: The result so far, which stays when the job is cancelled.

        Returns:
            `paused` or `cancelled` where somebody asked for it.
        """
        if progress is None and message is None and spending is None and partial is None:
            return self.look(lease).wanted

        def work(db: sa.Connection) -> Wanted | None:
            job = held(db, lease)
            values = _news(job, progress, message) | book(db, job, spending)
            if partial is not None:
                values |= result_columns(partial)
            if values:
                change(db, job.job_id, **values)
            return job.wanted

        return self.database.write(work)

    def append(self, lease: Lease, events: Events) -> int:
        """Append events to the job's stream.

        Returns:
            The number of the last one.
        """

        def work(db: sa.Connection) -> int:
            last = add_events(db, lease.job_id, events, JOB.c.fence == lease.fence, JOB.c.status == "running")
            if last is None:
                held(db, lease)
                raise LeaseLost(f"Job {lease.job_id} was taken up by another process.")
            return last

        return self.database.write(work)

    def conclude(
        self,
        lease: Lease,
        status: Status,
        *,
        result: Result | None = None,
        error: Result | None = None,
        message: str = "",
        spending: Spending | None = None,
    ) -> Job:
        """End the work on a job: it is over, or paused.

        A job that could go on, but that somebody wants cancelled, is cancelled.

        Args:
            lease: The right to do so; nobody has it afterwards.
            status: One in which nobody works on the job.
            result: What came of it; None keeps what `progress` has stored.
            error: `code`, `message`, `hint` of why it did not succeed.
            message: One sentence for people.
            spending: What it has spent, over all attempts; None is what the journal says.
        """
        if status not in OVER and status != "paused":
            raise ValueError(f"a job is not concluded as {status}")

        def work(db: sa.Connection) -> Job:
            job = held(db, lease)
            values = _news(job, 1.0 if status == "succeeded" else None, message)
            values |= self._booked(db, job) if spending is None else book(db, job, spending)
            if result is not None:
                values |= result_columns(result)
            values["error"] = encode_or_none(error)
            told = {} if error is None else {"error": error}
            settled = settle(db, job, granted(status, job.wanted), told, **values)
            keep_outcome(db, settled)
            return settled

        return self.database.write(work)

    def crashed(self, lease: Lease, error: Result) -> int:
        """Note that the job's process died by itself. The job stays this worker's; the process makes no call.

        Returns:
            How often that happened since the job last got further.
        """

        def work(db: sa.Connection) -> int:
            job = held(db, lease)
            release(db, job.job_id)
            now = change(db, job.job_id, crashes=job.crashes + 1, **self._booked(db, job))
            add_events(db, job.job_id, [("crashed", {"error": error, "crashes": now.crashes})])
            return now.crashes

        return self.database.write(work)

    def cut_off(self, lease: Lease, error: Result) -> int:
        """Note that the job's process was ended from outside, as `crashed`; but that is no crash of its own.

        Returns:
            How often that happened, or its worker died, since the job last got further.
        """

        def work(db: sa.Connection) -> int:
            job = held(db, lease)
            release(db, job.job_id)
            now = change(db, job.job_id, deaths=job.deaths + 1, **self._booked(db, job))
            told = {"error": error, "deaths": now.deaths}
            add_events(db, job.job_id, [("interrupted_from_outside", told)])
            return now.deaths

        return self.database.write(work)

    def hand_back(self, lease: Lease) -> Job:
        """Give the job back to the queue, for another worker; or do with it what is wanted."""

        def work(db: sa.Connection) -> Job:
            job = held(db, lease)
            spent = self._booked(db, job)
            if job.wanted is not None:
                return settle(db, job, granted("queued", job.wanted), {}, **spent)
            release(db, job.job_id)
            add_events(db, job.job_id, [("handed_back", {"worker": lease.worker})])
            return change(db, job.job_id, status="queued", **spent)

        return self.database.write(work)

    def _claim(self, db: sa.Connection, job_id: str, attempt: int, worker: str) -> Lease | Job:
        job = locked(db, job_id)
        if job.attempt != attempt or job.status not in {"queued", "running"}:
            return job
        # The process of before had perhaps no time to tell, and this one makes calls only later.
        values = self._booked(db, job)
        if job.wanted is not None:
            return settle(db, job, granted("queued", job.wanted), {}, **values)
        if _died_without_a_word(db, job):
            values["deaths"] = job.deaths + 1
            add_events(db, job_id, [("worker_died", {"worker": job.worker, "deaths": values["deaths"]})])
            if values["deaths"] >= DEATHS:
                return _failed(db, replace(job, deaths=values["deaths"]), values)
        lease = Lease(job_id, job.fence + 1, worker)
        insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert(LEASE)
        row = {"fence": lease.fence, "worker": worker, "taken_at": database_now()}
        taken = insert.values(job_id=job_id, **row)
        db.execute(taken.on_conflict_do_update(index_elements=["job_id"], set_=row))
        if job.started_at is None:
            values["started_at"] = database_now()
        change(db, job_id, status="running", fence=lease.fence, worker=worker, **values)
        add_events(db, job_id, [("taken_up", {"worker": worker, "fence": lease.fence, "attempt": attempt})])
        return lease

    def _booked(self, db: sa.Connection, job: Job) -> dict[str, Any]:
        return book_all(self.database, db, job)


def _died_without_a_word(db: sa.Connection, job: Job) -> bool:
    """Whether the job is still somebody's: who hands it back, or sees its process crash, ends the lease."""
    if job.status != "running":
        return False
    return db.execute(sa.select(LEASE.c.fence).where(LEASE.c.job_id == job.job_id)).first() is not None


def ended_from_outside(job: Job) -> dict[str, str]:
    """The error of a job ended from outside too often: its workers died, or somebody ended its process.

    Args:
        job: With the last time counted.
    """
    message = (
        f"The workers of job {job.job_id} died under it, or its process was ended from outside,"
        f" {job.deaths} times without its getting further; by itself it crashed {_times(job.crashes)}."
    )
    hint = (
        "Perhaps it takes more memory than its workers have, or they are restarted too often."
        " To stop a job: skill-fleet jobs pause, or cancel."
    )
    return {"code": "ended_from_outside", "message": message, "hint": hint}


def _failed(db: sa.Connection, job: Job, values: Mapping[str, Any]) -> Job:
    error = ended_from_outside(job)
    columns = {**values, "error": encode(error), "message": said(error["message"])}
    settled = settle(db, job, "failed", {"error": error}, **columns)
    keep_outcome(db, settled)
    return settled


def _times(number: int) -> str:
    return {0: "not once", 1: "once"}.get(number, f"{number} times")


def _look(db: sa.Connection, lease: Lease) -> Look:
    seen = (JOB.c.status, JOB.c.fence, JOB.c.wanted, JOB.c.removed_at, JOB.c.version, JOB.c.events)
    row = db.execute(sa.select(*seen).where(JOB.c.job_id == lease.job_id)).first()
    if row is None or row.removed_at is not None:
        raise LeaseLost(f"Job {lease.job_id} is not there any more.")
    check_lease(row.status, row.fence, lease)
    return Look(row.wanted, row.version + row.events)


def _news(job: Job, progress: float | None, message: str | None) -> dict[str, Any]:
    """The columns that change; nothing where the same is told again."""
    told: dict[str, Any] = {}
    if progress is not None and min(progress, 1.0) > job.progress:
        told |= {"progress": min(progress, 1.0), "crashes": 0, "deaths": 0}
    if message is not None and said(message) != job.message:
        told["message"] = said(message)
    return told
