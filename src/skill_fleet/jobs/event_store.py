"""The stream of a job's events: numbered from 1 without gaps, written once, never changed."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from skill_fleet.jobs.rows import clean, encode
from skill_fleet.jobs.tables import JOB, JOB_EVENT, database_now

Events = Sequence[tuple[str, Mapping[str, Any]]]


def add_events(
    db: sa.Connection, job_id: str, events: Events, *condition: sa.ColumnElement[bool]
) -> int | None:
    """Append events to a job's stream, in the transaction at hand.

    The job's own counter gives the numbers: who raises it holds the row until the commit, so that writers
    follow one another and a number that was given is used.

    Args:
        db: The transaction.
        job_id: The job.
        events: Kinds and data, in order.
        condition: What must hold of the job's row.

    Returns:
        The number of the last one; None where there is no such job, or the condition does not hold.
    """
    raised = (
        sa.update(JOB)
        .where(JOB.c.job_id == job_id, JOB.c.removed_at.is_(None), *condition)
        .values(events=JOB.c.events + len(events))
        .returning(JOB.c.events, database_now())
    )
    row = db.execute(raised).first()
    if row is None or not events:
        return None if row is None else int(row[0])
    last, now = row
    first = last - len(events) + 1
    db.execute(
        JOB_EVENT.insert(),
        [
            {"job_id": job_id, "number": number, "at": now, "kind": clean(kind), "data": encode(data)}
            for number, (kind, data) in enumerate(events, first)
        ],
    )
    return int(last)
