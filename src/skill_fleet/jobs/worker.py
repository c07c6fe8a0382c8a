"""A worker: takes jobs from the queue, in background threads of the process that starts it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skill_fleet.jobs.queue import JOBS_VERSION
from skill_fleet.jobs.runner import Runner

if TYPE_CHECKING:
    from skill_fleet.jobs.database import Database


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker works.

    Attributes:
        jobs_at_once: How many jobs this worker runs at a time.
        jobs_everywhere: How many all workers together run at a time; None is no limit.
        jobs_per_provider: How many of one provider all workers together run at a time; None is no limit.
        heartbeat_seconds: A worker whose last beat is older than this is dead.
        grace_seconds: How long a child that was interrupted may take before it is killed.
        keep_days: How long a finished job is kept.
        poll_seconds: How often the queue is looked at.
    """

    jobs_at_once: int = 2
    jobs_everywhere: int | None = None
    jobs_per_provider: int | None = None
    heartbeat_seconds: float = 15.0
    grace_seconds: float = 10.0
    keep_days: int = 90
    poll_seconds: float = 0.5


class RunningWorker:
    """A worker under way. One in a process.

    Attributes:
        worker_id: Its name; changes where it had to start over.
        failed: Why it is not working any more; None while it is.
    """

    worker_id: str
    failed: Exception | None

    @classmethod
    def start(
        cls, database: "Database", settings: WorkerSettings, runner: "Runner", *, version: str = JOBS_VERSION
    ) -> "RunningWorker":
        """Start working; returns when the worker is registered and takes jobs.

        Raises:
            StorageError: On SQLite, another process is this workspace's worker already; or the database does not
                answer.
        """
        raise RuntimeError(database, settings, runner, version)

    def stop(self, within: float = 5.0) -> None:
        """Take no new job, interrupt those that run, hand them back, say goodbye. Never raises."""
