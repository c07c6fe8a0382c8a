"""What there is to count over all jobs and workers, for the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from skill_fleet.jobs.tables import JOB, JOB_ROUND, WORKER, database_now


@dataclass(frozen=True)
class Counts:
    """What there is to count; jobs that were removed are in the sums, but not in the statuses.

    Attributes:
        jobs: How many, by kind and status.
        oldest_queued_seconds: Age of the oldest job in the queue; None where it is empty.
        workers: How many, by state.
        calls: Attempts of all jobs.
        usd: Known dollars of all jobs.
        usd_unknown_calls: Attempts of all jobs that may have cost something nobody knows.
        failures: Jobs that did not succeed, by the code of their error.
    """

    jobs: Mapping[tuple[str, str], int]
    oldest_queued_seconds: float | None
    workers: Mapping[str, int]
    calls: int
    usd: float
    usd_unknown_calls: int
    failures: Mapping[str, int]


def count(db: sa.Connection) -> Counts:
    """Count what there is."""
    here = JOB.c.removed_at.is_(None)
    jobs = sa.select(JOB.c.kind, JOB.c.status, sa.func.count()).where(here).group_by(JOB.c.kind, JOB.c.status)
    oldest = sa.select(database_now() - sa.func.min(JOB.c.created_at)).where(JOB.c.status == "queued")
    workers = sa.select(WORKER.c.state, sa.func.count()).group_by(WORKER.c.state)
    sums = sa.select(
        sa.func.coalesce(sa.func.sum(JOB.c.calls), 0),
        sa.func.coalesce(sa.func.sum(JOB.c.usd), 0.0),
        sa.func.coalesce(sa.func.sum(JOB.c.usd_unknown_calls), 0),
    )
    calls, usd, unknown = db.execute(sums).one()
    return Counts(
        {(kind, status): number for kind, status, number in db.execute(jobs)},
        db.scalar(oldest),
        {state: number for state, number in db.execute(workers)},
        int(calls),
        float(usd),
        int(unknown),
        {},
    )
