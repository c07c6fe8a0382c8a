"""What jobs spend by day (UTC), and what is left of a key's day."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.records import Job, Spending
from skill_fleet.jobs.rows import whole
from skill_fleet.jobs.tables import JOB, SPENT_ON, database_now
from skill_fleet.llm.journal import database_statements as statements
from skill_fleet.llm.journal.ledger import spent_by_ledger
from skill_fleet.llm.journal.spent import added_up

_DAY_SECONDS = 86_400
_LEDGER = "ledger.sqlite"
_UNFINISHED = ("queued", "running")
_SPENT = ("calls", "usd", "usd_unknown_calls")


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


def book(db: sa.Connection, job: Job, spending: Spending | None) -> dict[str, Any]:
    """Book on today what a job has spent since it last told.

    Args:
        db: The transaction, with the job locked.
        job: As it stood before.
        spending: Over all its attempts; None where nobody knows.

    Returns:
        The columns of the job that change. Calls and dollars never fall.
    """
    if spending is None:
        return {}
    new = {
        "calls": max(job.calls, whole(spending.calls) or 0),
        "usd": max(job.usd, spending.usd),
        # May fall: the cost of a call can become known.
        "usd_unknown_calls": whole(spending.usd_unknown_calls) or 0,
        "usd_most": spending.usd_most,
        "possibly_billed": whole(spending.possibly_billed) or 0,
    }
    new = {name: value for name, value in new.items() if value != getattr(job, name)}
    if new:
        more = {name: new.get(name, getattr(job, name)) - getattr(job, name) for name in _SPENT}
        insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert(SPENT_ON)
        row = insert.values(job_id=job.job_id, day=today(), owner=job.owner, **more)
        added = {name: SPENT_ON.c[name] + value for name, value in more.items()}
        db.execute(row.on_conflict_do_update(index_elements=["job_id", "day"], set_=added))
    return new


def book_all(database: Database, db: sa.Connection, job: Job) -> dict[str, Any]:
    """As `book`, with what the journal says: for a job whose process can tell it no more.

    Embedded, the journal is the ledger of the workspace.
    """
    if database.folder is not None:
        found = spent_by_ledger(database.folder.parent / _LEDGER, job.job_id)
    else:
        found = added_up(db.execute(statements.SPENT, statements.values(run=job.job_id)).all())
    if found is None or found.calls < job.calls:
        return {}  # not the ledger that was written: somebody has moved it aside
    return book(db, job, Spending.by(found, ended=True))


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
