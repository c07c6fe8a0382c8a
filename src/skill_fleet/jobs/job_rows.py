"""The row of one job: how it is read, locked and changed. Used inside transactions of the stores."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from skill_fleet.foundation.errors import LeaseLost, NotFound, Removed
from skill_fleet.jobs.connection import Database, QuickSelect
from skill_fleet.jobs.event_store import add_events
from skill_fleet.jobs.records import OVER, Job, Lease, Status
from skill_fleet.jobs.rows import JOB_COLUMNS, clean, job_of, storable
from skill_fleet.jobs.tables import JOB, LEASE, database_now

_BY_ID = sa.select(*JOB_COLUMNS, JOB.c.removed_at).where(JOB.c.job_id == sa.bindparam("value"))
_QUICK = QuickSelect(_BY_ID)


def read_job(database: Database, job_id: str) -> Job:
    """The job of this name.

    Raises:
        NotFound: There is none.
        Removed: It was removed.
    """
    return _present(database.quickly(_QUICK, job_id) if storable(job_id) else None, job_id)


def locked(db: sa.Connection, job_id: str) -> Job:
    """The job, which nobody else can change until the transaction ends.

    Raises:
        NotFound: There is none.
        Removed: It was removed.
    """
    row = db.execute(_BY_ID.with_for_update(), {"value": job_id}).first() if storable(job_id) else None
    return _present(row, job_id)


def held(db: sa.Connection, lease: Lease) -> Job:
    """As `locked`, for who holds the lease.

    Raises:
        LeaseLost: It is held no more: the job was taken up again, is over, or was removed.
    """
    try:
        job = locked(db, lease.job_id)
    except NotFound:
        raise LeaseLost(f"Job {lease.job_id} is not there any more.") from None
    check_lease(job.status, job.fence, lease)
    return job


def check_lease(status: str, fence: int, lease: Lease) -> None:
    """Nothing, where the lease is held.

    Raises:
        LeaseLost: It is held no more.
    """
    if fence != lease.fence:
        raise LeaseLost(f"Job {lease.job_id} was taken up by another process.")
    if status != "running":
        raise LeaseLost(f"Job {lease.job_id} is not running any more: it is {status}.")


def change(db: sa.Connection, job_id: str, **values: Any) -> Job:
    """The job after its columns were set; its version rises."""
    statement = (
        sa.update(JOB)
        .where(JOB.c.job_id == job_id)
        .values(version=JOB.c.version + 1, updated_at=database_now(), **values)
        .returning(*JOB_COLUMNS)
    )
    return job_of(db.execute(statement).one())


def settle(db: sa.Connection, job: Job, status: Status, told: Mapping[str, Any], **values: Any) -> Job:
    """The job in a status in which nobody works on it; whoever held its lease has lost it.

    Args:
        db: The transaction, with the job locked.
        job: As it stands.
        status: What becomes of it.
        told: What the event `status` says beside the status.
        values: Further columns.
    """
    release(db, job.job_id)
    finished = database_now() if status in OVER else None
    changed = change(db, job.job_id, status=status, wanted=None, finished_at=finished, **values)
    data = {"status": status, "message": changed.message, **told}
    add_events(db, job.job_id, [("status", data)])
    return changed


def release(db: sa.Connection, job_id: str) -> None:
    """End the lease of a job: who held it makes no further paid call."""
    db.execute(sa.delete(LEASE).where(LEASE.c.job_id == job_id))


def said(message: str) -> str:
    """A message as a column holds it: one paragraph, cut where it is endless."""
    text = clean(message)
    return text if len(text) <= 2000 else text[:1999] + "…"


def _present(row: Any, job_id: str) -> Job:
    if row is None:
        raise NotFound(f"There is no job {clean(job_id)[:100]!r}.")
    job = job_of(row[:-1])
    if row[-1] is not None:
        raise Removed(f"Job {job.job_id} was removed.", owner=job.owner)
    return job
