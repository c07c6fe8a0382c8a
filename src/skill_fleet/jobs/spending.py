"""What jobs spend by day (UTC), and what is left of a key's day."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.jobs.records import Job, Spending
from skill_fleet.jobs.rows import whole
from skill_fleet.jobs.tables import JOB, SPENT_ON, database_now

_DAY_SECONDS = 86_400
_UNFINISHED = ("queued", "running")


@dataclass(frozen=True)
class SpentToday:
    """What one owner's jobs have spent since midnight UTC, and what those under way may still spend.

    Attributes:
        usd: Known dollars spent today, also by jobs that were removed since.
        usd_unknown_calls: Attempts of today that may have cost something nobody knows.
        calls: Attempts made today.
        reserved_usd: What is left of the caps of queued and running jobs, in dollars.
        reserved_calls: The same in calls.
        uncapped_usd: Queued and running jobs without a cap on dollars.
        uncapped_calls: Queued and running jobs without a cap on calls.
    """

    usd: float
    usd_unknown_calls: int
    calls: int
    reserved_usd: float
    reserved_calls: int
    uncapped_usd: int
    uncapped_calls: int


def today() -> sa.ColumnElement[int]:
    """The day on the database's clock, counted from 1970-01-01 UTC."""
    return sa.cast(sa.func.floor(database_now() / _DAY_SECONDS), sa.Integer)


def book(db: sa.Connection, job: Job, spending: Spending) -> None:
    """Book on today what a job has spent since it last told.

    Args:
        db: The transaction, with the job locked.
        job: As it stood before.
        spending: Over all its attempts.
    """
    more = {
        "calls": max(0, (whole(spending.calls) or 0) - job.calls),
        "usd": max(0.0, spending.usd - job.usd),
        # May fall: the cost of a call can become known.
        "usd_unknown_calls": (whole(spending.usd_unknown_calls) or 0) - job.usd_unknown_calls,
    }
    if not any(more.values()):
        return
    insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert(SPENT_ON)
    new = insert.values(job_id=job.job_id, day=today(), owner=job.owner, **more)
    added = {name: SPENT_ON.c[name] + value for name, value in more.items()}
    db.execute(new.on_conflict_do_update(index_elements=["job_id", "day"], set_=added))


def spent_today(db: sa.Connection, owner: str | None) -> SpentToday:
    """What one owner has spent today, and what is reserved."""
    left_usd = JOB.c.max_usd - JOB.c.usd
    left_calls = JOB.c.max_calls - JOB.c.calls
    reserved = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((left_usd > 0, left_usd), else_=0.0)), 0.0),
        sa.func.coalesce(sa.func.sum(sa.case((left_calls > 0, left_calls), else_=0)), 0),
        sa.func.count().filter(JOB.c.max_usd.is_(None)),
        sa.func.count().filter(JOB.c.max_calls.is_(None)),
    ).where(JOB.c.owner.is_not_distinct_from(owner), JOB.c.status.in_(_UNFINISHED))
    left = db.execute(reserved).one()
    # After what is reserved: what is spent in between counts twice rather than not at all.
    spent = sa.select(
        sa.func.coalesce(sa.func.sum(SPENT_ON.c.usd), 0.0),
        sa.func.coalesce(sa.func.sum(SPENT_ON.c.usd_unknown_calls), 0),
        sa.func.coalesce(sa.func.sum(SPENT_ON.c.calls), 0),
    ).where(SPENT_ON.c.owner.is_not_distinct_from(owner), SPENT_ON.c.day == today())
    usd, unknown, calls = db.execute(spent).one()
    return SpentToday(
        float(usd), max(0, int(unknown)), int(calls), float(left[0]), int(left[1]), int(left[2]), int(left[3])
    )
