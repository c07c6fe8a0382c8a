"""What stays of a finished optimization for the metrics, also when its job is removed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.jobs.records import Job
from skill_fleet.jobs.rows import clean
from skill_fleet.jobs.tables import FAILURE, JOB_ROUND, LAST_RESULT, database_now

ROUND_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Upper bounds of the histogram of rounds, in seconds; what is longer is only in its count."""


@dataclass(frozen=True)
class Rounds:
    """How long the rounds of one optimizer took.

    Attributes:
        count: How many.
        seconds: All together.
        within: How many took at most each of `ROUND_SECONDS`.
    """

    count: int
    seconds: float
    within: tuple[int, ...]


@dataclass(frozen=True)
class LastResult:
    """What the last successful run of one optimizer came to, on its sealed test.

    Attributes:
        job_id: The run's job.
        at: When it ended, in seconds since 1970.
        simulated: Whether the built-in simulator answered.
        accuracy: Share of examples at or above the target, from 0 to 1.
        quality: Mean score, from 0 to 1.
        verdict: `improved`, `not_shown`, …
    """

    job_id: str
    at: float
    simulated: bool
    accuracy: float | None
    quality: float | None
    verdict: str | None


def keep_outcome(db: sa.Connection, job: Job) -> None:
    """Keep what the metrics read of a job that was concluded, in the transaction at hand.

    A result without an optimizer is none of an optimization: nothing is kept of it.
    """
    insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert
    if job.error is not None and job.status in {"failed", "stopped"}:
        code = clean(str(job.error.get("code", "error")))
        once = insert(FAILURE).values(code=code, number=1)
        db.execute(once.on_conflict_do_update(index_elements=["code"], set_={"number": FAILURE.c.number + 1}))
    result = job.result or {}
    optimizer = result.get("optimizer")
    if not isinstance(optimizer, str):
        return
    told = result.get("rounds")
    rounds = [
        {"job_id": job.job_id, "number": number, "optimizer": clean(optimizer), "seconds": seconds}
        for number, seconds in enumerate(map(_seconds, told if isinstance(told, list) else ()), 1)
        if seconds is not None
    ]
    if rounds:
        db.execute(insert(JOB_ROUND).on_conflict_do_nothing(), rounds)
    if job.status != "succeeded":
        return
    verdict = result.get("verdict")
    row = {
        "job_id": job.job_id,
        "at": database_now(),
        "simulated": result.get("simulated") is True,
        "accuracy": _number(result, "accuracy", "optimized"),
        "quality": _number(result, "optimized", "test"),
        "verdict": clean(verdict) if isinstance(verdict, str) else None,
    }
    last = insert(LAST_RESULT).values(optimizer=clean(optimizer), **row)
    db.execute(last.on_conflict_do_update(index_elements=["optimizer"], set_=row))


def rounds_by_optimizer(db: sa.Connection) -> dict[str, Rounds]:
    """How long rounds took, by optimizer."""
    seconds = JOB_ROUND.c.seconds
    within = [sa.func.count().filter(seconds <= bound) for bound in ROUND_SECONDS]
    columns = (JOB_ROUND.c.optimizer, sa.func.count(), sa.func.sum(seconds), *within)
    rows = db.execute(sa.select(*columns).group_by(JOB_ROUND.c.optimizer))
    return {row[0]: Rounds(int(row[1]), float(row[2]), tuple(map(int, row[3:]))) for row in rows}


def last_results(db: sa.Connection) -> dict[str, LastResult]:
    """What the last successful run of each optimizer came to."""
    table = LAST_RESULT.c
    columns = (table.job_id, table.at, table.simulated, table.accuracy, table.quality, table.verdict)
    return {row[0]: LastResult(*row[1:]) for row in db.execute(sa.select(table.optimizer, *columns))}


def _seconds(one: Any) -> float | None:
    return _number(one, "seconds") if isinstance(one, Mapping) else None


def _number(value: Any, *path: str) -> float | None:
    """The number at a path of keys; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None
