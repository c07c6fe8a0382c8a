"""What there is to count over all jobs and workers, for the metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from skill_fleet.jobs.outcomes import LastResult, Rounds, last_results, rounds_by_optimizer
from skill_fleet.jobs.tables import FAILURE, JOB, WORKER, database_now


@dataclass(frozen=True)
class Counts:
    """What there is to count; jobs that were removed are in the sums, but not in the statuses.

    Attributes:
        jobs: How many, by kind and status.
        oldest_queued_seconds: How long the longest waiting job is in the queue; None where it is empty.
        workers: How many, by state.
        calls: Attempts of all jobs.
        usd: Known dollars of all jobs.
        usd_unknown_calls: Attempts of all jobs that may have cost something nobody knows.
        failures: How often jobs failed or stopped, by the code of the error.
        rounds: How long rounds took, by optimizer.
        last_results: What the last successful run came to, by optimizer.
    """

    jobs: Mapping[tuple[str, str], int]
    oldest_queued_seconds: float | None
    workers: Mapping[str, int]
    calls: int
    usd: float
    usd_unknown_calls: int
    failures: Mapping[str, int]
    rounds: Mapping[str, Rounds]
    last_results: Mapping[str, LastResult]


def count(db: sa.Connection) -> Counts:
    """Count what there is."""
    here = JOB.c.removed_at.is_(None)
    jobs = sa.select(JOB.c.kind, JOB.c.status, sa.func.count()).where(here).group_by(JOB.c.kind, JOB.c.status)
    oldest = sa.select(database_now() - sa.func.min(JOB.c.updated_at)).where(JOB.c.status == "queued")
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
        _by_key(db, workers),
        int(calls),
        float(usd),
        int(unknown),
        _by_key(db, sa.select(FAILURE.c.code, FAILURE.c.number)),
        rounds_by_optimizer(db),
        last_results(db),
    )


def _by_key(db: sa.Connection, statement: sa.Select[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in db.execute(statement)}
