"""All jobs, as users see them: the truth, of which the queue only knows what is to be done next."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import sqlalchemy as sa

from skill_fleet.jobs.admitting import Idempotency, JobAdmitting
from skill_fleet.jobs.asking_jobs import UNCHANGED, JobAsking, Unchanged, erase
from skill_fleet.jobs.audit import Audit
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.counts import Counts, count
from skill_fleet.jobs.event_store import add_events
from skill_fleet.jobs.holding import JobHolding
from skill_fleet.jobs.job_rows import locked, read_job
from skill_fleet.jobs.records import OVER, RESUMABLE, Job, JobEvent, JobSummary, Kind, Status
from skill_fleet.jobs.rows import SUMMARY_COLUMNS, decode, event_of, storable, summary_of
from skill_fleet.jobs.spending import SpentToday, spent_today
from skill_fleet.jobs.tables import IDEMPOTENCY, JOB, JOB_EVENT, JOB_REQUEST, database_now

__all__ = ["ANY", "UNCHANGED", "AnyOwner", "Counts", "Idempotency", "JobStore", "SpentToday", "Unchanged"]

RETENTION = "retention"
"""Who removed a job that was over for too long."""
_DAY_SECONDS = 86_400
_ERASED_AT_ONCE = 200


class AnyOwner:
    """Whose jobs are listed where it does not matter; None would be those that nobody's key asked for."""


ANY: Final = AnyOwner()


class JobStore(JobAdmitting, JobAsking, JobHolding):
    """The jobs in a database; safe for all threads, and between processes.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)

    def get(self, job_id: str) -> Job:
        """The job of this name.

        Raises:
            NotFound: There is none.
            Removed: It was removed.
        """
        return read_job(self.database, job_id)

    def request_of(self, job_id: str) -> dict[str, Any]:
        """What the work of a job is given; empty where it was removed. It can have megabytes.

        Raises:
            NotFound: There is no such job.
        """
        given = sa.select(JOB_REQUEST.c.request).where(JOB_REQUEST.c.job_id == job_id)
        text = self.database.read(lambda db: db.scalar(given)) if storable(job_id) else None
        if text is None:
            self.get(job_id)
        request: dict[str, Any] = decode(text) or {}
        return request

    def page(
        self,
        *,
        owner: str | AnyOwner | None = ANY,
        statuses: Collection[Status] = (),
        kind: Kind | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 20,
    ) -> list[JobSummary]:
        """Some jobs, newest first.

        Args:
            owner: Whose; `ANY` for all.
            statuses: Only those; none for all.
            kind: Only those.
            before: `created_at` and `job_id` of the last one of the page before: later ones follow.
            limit: At most so many.
        """
        wheres: list[sa.ColumnElement[bool]] = [JOB.c.removed_at.is_(None)]
        if not isinstance(owner, AnyOwner):
            wheres.append(JOB.c.owner.is_not_distinct_from(owner))
        if statuses:
            wheres.append(JOB.c.status.in_(sorted(statuses)))
        if kind is not None:
            wheres.append(JOB.c.kind == kind)
        if before is not None:
            created_at, job_id = before
            wheres.append(sa.tuple_(JOB.c.created_at, JOB.c.job_id) < sa.tuple_(created_at, job_id))
        newest = sa.select(*SUMMARY_COLUMNS).where(*wheres).limit(limit)
        ordered = newest.order_by(JOB.c.created_at.desc(), JOB.c.job_id.desc())
        return self._summaries(ordered)

    def removed(self) -> list[str]:
        """The names of all jobs that were removed: by somebody, or since they were over for too long."""
        gone = sa.select(JOB.c.job_id).where(JOB.c.removed_at.is_not(None)).order_by(JOB.c.job_id)
        return self.database.read(lambda db: list(db.scalars(gone)))

    def unfinished(self, limit: int) -> list[str]:
        """The names of some jobs that go on, or may: newest first, at most so many."""
        alive = (JOB.c.removed_at.is_(None), JOB.c.status.in_(sorted({"queued", "running", *RESUMABLE})))
        names = sa.select(JOB.c.job_id).where(*alive).order_by(JOB.c.created_at.desc()).limit(limit)
        return self.database.read(lambda db: list(db.scalars(names)))

    def left_behind(self, older_than: float, limit: int = 100) -> list[JobSummary]:
        """Queued jobs that the queue was not told of, oldest first.

        Args:
            older_than: Seconds since they were written down.
            limit: At most so many.
        """
        left = (
            sa.select(*SUMMARY_COLUMNS)
            .where(
                JOB.c.status == "queued",
                JOB.c.enqueued_at.is_(None),
                JOB.c.updated_at < database_now() - older_than,
            )
            .order_by(JOB.c.created_at, JOB.c.job_id)
            .limit(limit)
        )
        return self._summaries(left)

    def waiting(self, older_than: float, limit: int = 500) -> list[JobSummary]:
        """Some of the jobs that wait in the queue, any of them: asked again and again, each has its turn.

        Args:
            older_than: Seconds since the queue was told of them.
            limit: At most so many.
        """
        told = JOB.c.enqueued_at < database_now() - older_than
        some = sa.select(*SUMMARY_COLUMNS).where(JOB.c.status == "queued", told)
        return self._summaries(some.order_by(sa.func.random()).limit(limit))

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        """The events of a job after a number, in order; none of a job that is not there or was removed."""
        if not storable(job_id):
            return []
        columns = (JOB_EVENT.c.number, JOB_EVENT.c.at, JOB_EVENT.c.kind, JOB_EVENT.c.data)
        stream = (
            sa.select(*columns)
            .where(JOB_EVENT.c.job_id == job_id, JOB_EVENT.c.number > after)
            .order_by(JOB_EVENT.c.number)
            .limit(limit)
        )
        return [event_of(row) for row in self.database.read(lambda db: db.execute(stream).all())]

    def pulses(self, job_ids: Collection[str]) -> dict[str, tuple[int, Status]]:
        """Of each job the number of its last event and its status; removed ones are left out."""
        columns = (JOB.c.job_id, JOB.c.events, JOB.c.status)
        alive = sa.select(*columns).where(JOB.c.job_id.in_(list(job_ids)), JOB.c.removed_at.is_(None))
        rows = self.database.read(lambda db: db.execute(alive).all())
        return {job_id: (int(events), status) for job_id, events, status in rows}

    def note(self, job_id: str, kind: str, data: Mapping[str, Any]) -> int:
        """Append an event without holding the job.

        Returns:
            Its number.

        Raises:
            NotFound, Removed: There is no such job.
        """

        def work(db: sa.Connection) -> int:
            locked(db, job_id)
            return add_events(db, job_id, [(kind, data)]) or 0

        return self.database.write(work)

    def spent_today(self, owner: str | None) -> SpentToday:
        """What an owner's jobs have spent since midnight UTC, and what is reserved for those under way."""
        return self.database.read(lambda db: spent_today(db, owner))

    def counts(self) -> Counts:
        """What there is to count, for the metrics."""
        return self.database.read(count)

    def expire(self, older_than_days: float) -> int:
        """Remove jobs that have been over for so long, with their idempotency keys; forget the audit before.

        Returns:
            How many jobs.
        """
        old = (
            sa.select(JOB.c.job_id)
            .where(
                JOB.c.status.in_(sorted(OVER)),
                JOB.c.removed_at.is_(None),
                JOB.c.finished_at < database_now() - older_than_days * _DAY_SECONDS,
            )
            .order_by(JOB.c.finished_at)
            .limit(_ERASED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )

        def some(db: sa.Connection) -> int:
            job_ids = list(db.scalars(old))
            for job_id in job_ids:
                erase(db, job_id, RETENTION)
            db.execute(sa.delete(IDEMPOTENCY).where(IDEMPOTENCY.c.job_id.in_(job_ids)))
            return len(job_ids)

        gone = 0
        while batch := self.database.write(some):
            gone += batch
        Audit(self.database).expire(older_than_days)
        return gone

    def _summaries(self, select: sa.Select[Any]) -> list[JobSummary]:
        return [summary_of(row) for row in self.database.read(lambda db: db.execute(select).all())]
