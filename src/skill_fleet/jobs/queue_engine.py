"""DBOS under way in this process: the only place that configures, launches and ends it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer
from dbos import error as dbos_error

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.queue_names import APPLICATION, QUEUE, WORKFLOW

if TYPE_CHECKING:
    from skill_fleet.jobs.connection import Database

SERIALIZER = DBOSPortableJSONSerializer()
"""Arguments and results in the queue are JSON: never pickled."""

_NO_TIME = 1e9


@dataclass(frozen=True)
class Limits:
    """How many jobs run at a time; None is no limit.

    Attributes:
        worker: In this worker.
        everywhere: In all workers together.
        provider: Of one provider, in all workers together.
        poll_seconds: How often the queue is looked at.
    """

    worker: int
    everywhere: int | None
    provider: int | None
    poll_seconds: float


def quiet() -> None:
    """Keep DBOS off the terminal: it adds a handler of its own where its logger has none.

    That a job's task was cancelled is what a stop does; the warning would name functions of libraries.
    """
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    if _is_news not in logger.filters:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Asyncio task cancelled for workflow or step")


def launch(
    database: "Database",
    *,
    worker_id: str,
    version: str,
    limits: Limits,
    work: Callable[[str, int], Awaitable[str]],
) -> None:
    """Take jobs from the queue in background threads, and run `work(job_id, attempt)` for each.

    The database must be prepared. One engine in a process: `end` comes before the next `launch`.

    Raises:
        StorageError: The database does not answer, or its queue is not of this version.
    """
    try:
        _launch(database, worker_id, version, limits, work)
    except sa.exc.DBAPIError as error:
        raise database.explained(error) from None
    except dbos_error.DBOSException as error:
        raise StorageError(f"The queue of {database.place} cannot be used: {error}") from error


def _launch(
    database: "Database",
    worker_id: str,
    version: str,
    limits: Limits,
    work: Callable[[str, int], Awaitable[str]],
) -> None:
    quiet()
    DBOS(
        config={
            "name": APPLICATION,
            "system_database_url": database.queue_url,
            "executor_id": worker_id,
            "application_version": version,
            "serializer": SERIALIZER,
            "run_migrations": False,
            "log_level": "WARNING",
            "scheduler_polling_interval_sec": _NO_TIME,
        }
    )

    # Functions of their own: what is decorated is marked, and a method cannot be.
    @DBOS.step(name="work", preemptible=True)
    async def step(job_id: str, attempt: int) -> str:
        return await work(job_id, attempt)

    @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)
    async def job(job_id: str, attempt: int) -> str:
        return await step(job_id, attempt)

    DBOS.listen_queues([QUEUE])
    DBOS.launch()
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=_at_most(limits.worker, limits.everywhere),
        global_concurrency=limits.everywhere,
        partition_concurrency=_at_most(limits.provider, limits.everywhere),
        polling_interval_sec=limits.poll_seconds,
    )


def _at_most(limit: int | None, other: int | None) -> int | None:
    return limit if limit is None or other is None else min(limit, other)


def end() -> None:
    """Take nothing more and cancel what runs; what had not ended stays taken, under this worker's name."""
    DBOS.destroy(destroy_registry=True)
