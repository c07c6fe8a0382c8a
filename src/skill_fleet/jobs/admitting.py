"""New jobs: each written down once, however often it is asked for, and within what its owner may have."""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.foundation.errors import IdempotencyConflict, StateConflict
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.event_store import add_events
from skill_fleet.jobs.job_rows import locked, read_job
from skill_fleet.jobs.records import OVER, Job, NewJob
from skill_fleet.jobs.rows import clean, encode, whole
from skill_fleet.jobs.spending import SpentToday, spent_today
from skill_fleet.jobs.tables import API_KEY, IDEMPOTENCY, JOB, JOB_REQUEST, database_now

Caps = tuple[float | None, int | None]
"""Of a whole job: dollars and calls; None is no cap."""
Admit = Callable[[SpentToday], Caps]
"""Gives the caps of a job from what its owner has spent and set aside today, or refuses it by raising.

Between this and the job's row nothing else is admitted for that owner, so that two starts cannot both get
what is left of a day. It may be asked more than once.
"""


@dataclass(frozen=True)
class Idempotency:
    """What makes a second request with the same key the same job.

    Attributes:
        key: The client's own.
        digest: Of the request.
    """

    key: str
    digest: str


class JobAdmitting:
    """Writing new jobs down.

    Args:
        database: Where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def known(self, owner: str | None, idempotency: Idempotency) -> Job | None:
        """The job that this owner's key has made before; None where there is none.

        Raises:
            IdempotencyConflict: The key came before, with another request.
            Removed: The key came before, and its job was removed.
        """
        kept = sa.select(IDEMPOTENCY.c.job_id, IDEMPOTENCY.c.digest).where(
            IDEMPOTENCY.c.owner == (owner or ""), IDEMPOTENCY.c.key == clean(idempotency.key)
        )
        row = self.database.read(lambda db: db.execute(kept).first())
        if row is None:
            return None
        _check_same(idempotency, row.digest)
        return read_job(self.database, row.job_id)

    def create(
        self,
        new: NewJob,
        *,
        idempotency: Idempotency | None = None,
        admit: Admit | None = None,
        at_most: int | None = None,
    ) -> tuple[Job, bool]:
        """Write a job down; the queue does not know it yet.

        Args:
            new: The job.
            idempotency: What the client calls this request.
            admit: Gives its caps in place of those of `new`.
            at_most: So many unfinished jobs its owner may have, this one among them; None is no limit.

        Returns:
            The job, and whether it is new: False where the same owner's same key and request came before.

        Raises:
            IdempotencyConflict: The key came before, with another request.
            Removed: The key came before, and its job was removed.
            StateConflict: Its owner has too many unfinished jobs (`too_many_jobs`).
        """
        request = encode(new.request)  # before anybody has to wait for it

        def work(db: sa.Connection) -> tuple[Job, bool]:
            before = None if idempotency is None else _before(db, new, idempotency)
            if before is not None:
                return before, False
            only_one(db, new.owner)
            if at_most is not None:
                _check_number(db, new.owner, at_most)
            caps = (new.max_usd, new.max_calls) if admit is None else admit(spent_today(db, new.owner))
            _insert(db, new, caps)
            db.execute(JOB_REQUEST.insert().values(job_id=new.job_id, request=request))
            add_events(db, new.job_id, [("queued", {"attempt": 1, "by": new.owner})])
            return locked(db, new.job_id), True

        return self.database.write(work)


def only_one(db: sa.Connection, owner: str | None) -> None:
    """Until the transaction ends, nothing else is admitted for this owner."""
    # SQLite's transactions exclude each other from their beginning.
    if owner is not None and db.dialect.name != "sqlite":
        db.execute(sa.select(API_KEY.c.key_id).where(API_KEY.c.key_id == owner).with_for_update())


def _insert(db: sa.Connection, new: NewJob, caps: Caps) -> None:
    statement = JOB.insert().values(
        job_id=new.job_id,
        kind=new.kind,
        status="queued",
        metadata=encode(new.metadata),
        owner=new.owner,
        provider=clean(new.provider),
        priority=new.priority,
        progress=0.0,
        message="",
        attempt=1,
        crashes=0,
        deaths=0,
        fence=0,
        max_usd=caps[0],
        max_calls=whole(caps[1]),
        max_tokens=whole(new.max_tokens),
        max_minutes=new.max_minutes,
        calls=0,
        usd=0.0,
        usd_unknown_calls=0,
        created_at=database_now(),
        updated_at=database_now(),
        version=1,
        events=0,
    )
    db.execute(statement)


def _check_number(db: sa.Connection, owner: str | None, at_most: int) -> None:
    mine = (JOB.c.owner.is_not_distinct_from(owner), JOB.c.status.not_in(sorted(OVER)))
    number = db.scalar(sa.select(sa.func.count()).select_from(JOB).where(*mine)) or 0
    if number >= at_most:
        raise StateConflict(
            f"{number} jobs of this key are not over yet, and it may have {at_most}.",
            hint="Wait until some are over, or cancel some.",
            code="too_many_jobs",
        )


def _before(db: sa.Connection, new: NewJob, idempotency: Idempotency) -> Job | None:
    """The job that this owner's key has made before; None where the key was kept for the new one."""
    insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert(IDEMPOTENCY)
    owner, key = new.owner or "", clean(idempotency.key)
    row = insert.values(owner=owner, key=key, digest=idempotency.digest, job_id=new.job_id)
    # Waits for another transaction that is about to keep the same key.
    if db.execute(row.on_conflict_do_nothing().returning(IDEMPOTENCY.c.job_id)).first() is not None:
        return None
    kept = sa.select(IDEMPOTENCY.c.job_id, IDEMPOTENCY.c.digest)
    job_id, digest = db.execute(kept.where(IDEMPOTENCY.c.owner == owner, IDEMPOTENCY.c.key == key)).one()
    _check_same(idempotency, digest)
    return locked(db, job_id)


def _check_same(idempotency: Idempotency, digest: str) -> None:
    if digest != idempotency.digest:
        raise IdempotencyConflict(
            f"The idempotency key {clean(idempotency.key)[:100]!r} came before, with another request.",
            hint="Use a new key for a new request.",
        )
