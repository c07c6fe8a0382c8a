"""What clients ask of jobs that are there: to pause, resume, cancel, remove; and what the queue asks."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa

from skill_fleet.jobs.admitting import Caps, only_one
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.event_store import add_events
from skill_fleet.jobs.job_rows import change, locked, release, settle
from skill_fleet.jobs.records import Job, Wanted
from skill_fleet.jobs.rows import encode, whole
from skill_fleet.jobs.spending import SpentToday, book_all, spent_today
from skill_fleet.jobs.tables import JOB, JOB_EVENT, JOB_FILE, JOB_REQUEST, database_now
from skill_fleet.jobs.transitions import ask, check_remove, check_requeue, granted


class Unchanged:
    """What a cap is that `requeue` leaves as it is; None would be no cap."""


UNCHANGED: Final = Unchanged()

AdmitAgain = Callable[[Job, SpentToday], Caps]
"""Gives the caps of a job that is gone on with, as `Admit` does those of a new one."""


class JobAsking:
    """Asking something of jobs.

    Args:
        database: Where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def want(self, job_id: str, wanted: Wanted, by: str | None) -> Job:
        """Ask for a pause or for the end.

        Where nobody works on the job, it takes effect at once; else its holder sees it at its next
        `progress`.
        Asking for what is so already changes nothing.

        Raises:
            NotFound, Removed: There is no such job.
            StateConflict: It makes no sense as the job stands.
        """

        def work(db: sa.Connection) -> Job:
            job = locked(db, job_id)
            how = ask(job, wanted)
            if how == "nothing":
                return job
            add_events(db, job_id, [("asked", {"wanted": wanted, "by": by})])
            if how == "at once":
                return settle(db, job, wanted, {"by": by}, message="")
            return change(db, job_id, wanted=wanted)

        return self.database.write(work)

    def requeue(
        self,
        job_id: str,
        by: str | None,
        *,
        request: Mapping[str, Any] | None = None,
        max_usd: float | Unchanged | None = UNCHANGED,
        max_calls: int | Unchanged | None = UNCHANGED,
        max_tokens: int | Unchanged | None = UNCHANGED,
        max_minutes: float | Unchanged | None = UNCHANGED,
        admit: AdmitAgain | None = None,
    ) -> Job:
        """Put a paused or stopped job into the queue again, as its next attempt.

        Args:
            job_id: The job.
            by: The key that asks for it.
            request: What it is given from now on; None leaves it.
            max_usd: Its cap on dollars from now on.
            max_calls: Its cap on calls from now on.
            max_tokens: Its cap on tokens from now on.
            max_minutes: Its cap on minutes from now on.
            admit: Gives the caps on dollars and calls, in place of these.

        Raises:
            NotFound, Removed: There is no such job.
            StateConflict: It is neither paused nor stopped.
        """
        given = None if request is None else encode(request)
        caps: dict[str, Any] = {
            "max_usd": max_usd,
            "max_calls": max_calls if isinstance(max_calls, Unchanged) else whole(max_calls),
            "max_tokens": max_tokens if isinstance(max_tokens, Unchanged) else whole(max_tokens),
            "max_minutes": max_minutes,
        }

        def work(db: sa.Connection) -> Job:
            job = locked(db, job_id)
            check_requeue(job)
            if given is not None:
                ours = sa.update(JOB_REQUEST).where(JOB_REQUEST.c.job_id == job_id)
                db.execute(ours.values(request=given))
            values = {name: cap for name, cap in caps.items() if not isinstance(cap, Unchanged)}
            if admit is not None:
                only_one(db, job.owner)
                usd, calls = admit(job, spent_today(db, job.owner))
                values |= {"max_usd": usd, "max_calls": whole(calls)}
            return _queued_again(db, job, by, **values)

        return self.database.write(work)

    def next_attempt(self, job_id: str, attempt: int) -> Job:
        """Put a job of an older version of the queue into it again; as it stands where that was done before.

        Raises:
            NotFound, Removed: There is no such job.
        """

        def work(db: sa.Connection) -> Job:
            job = locked(db, job_id)
            if job.attempt != attempt or job.status not in {"queued", "running"}:
                return job
            spent = book_all(self.database, db, job)
            if job.wanted is not None:
                return settle(db, job, granted("queued", job.wanted), {}, **spent)
            return _queued_again(db, job, None, **spent)

        return self.database.write(work)

    def enqueued(self, job_id: str, attempt: int) -> None:
        """Note that the queue knows this attempt."""
        attempt_of = sa.and_(JOB.c.job_id == job_id, JOB.c.attempt == attempt)
        statement = sa.update(JOB).where(attempt_of).values(enqueued_at=database_now())
        self.database.write(lambda db: db.execute(statement))

    def remove(self, job_id: str, by: str | None) -> None:
        """Remove a job that is over: its contents go, its name and what it cost stay.

        Raises:
            NotFound, Removed: There is no such job any more.
            StateConflict: It is not over.
        """

        def work(db: sa.Connection) -> None:
            check_remove(locked(db, job_id))
            erase(db, job_id, by)

        self.database.write(work)


def erase(db: sa.Connection, job_id: str, by: str | None) -> None:
    """Take the contents of a job away, in the transaction at hand."""
    gone = {"metadata": "{}", "message": "", "result": None, "simulated": None, "error": None}
    change(db, job_id, removed_at=database_now(), removed_by=by, **gone)
    release(db, job_id)
    # Not before the job is marked: a trigger keeps the events of all others.
    db.execute(sa.delete(JOB_EVENT).where(JOB_EVENT.c.job_id == job_id))
    db.execute(sa.delete(JOB_FILE).where(JOB_FILE.c.job_id == job_id))
    db.execute(sa.delete(JOB_REQUEST).where(JOB_REQUEST.c.job_id == job_id))


def _queued_again(db: sa.Connection, job: Job, by: str | None, **values: Any) -> Job:
    release(db, job.job_id)
    add_events(db, job.job_id, [("queued", {"attempt": job.attempt + 1, "by": by})])
    nothing = dict.fromkeys(("wanted", "error", "finished_at", "enqueued_at"))
    fresh = {"status": "queued", "attempt": job.attempt + 1, "message": "", "crashes": 0, "deaths": 0}
    return change(db, job.job_id, **nothing, **fresh, **values)
