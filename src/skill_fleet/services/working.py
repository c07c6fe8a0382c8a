"""A worker of a workspace: what it runs jobs with, and how."""

import sys
from typing import TYPE_CHECKING

from skill_fleet.services.context import Context

if TYPE_CHECKING:
    from skill_fleet.jobs.database import Database
    from skill_fleet.jobs.worker import RunningWorker, WorkerSettings
    from skill_fleet.jobs.worker_lock import WorkerLock

# -P: a workspace's files must not stand in for modules.
JOB_COMMAND = (sys.executable, "-P", "-m", "skill_fleet.services.job_process")


def start_worker(context: Context, database: "Database", lock: "WorkerLock | None" = None) -> "RunningWorker":
    """A worker, in threads of this process; each job runs in a child process of its own.

    Args:
        context: Settings, environment and workspace, which are the children's too.
        database: Where the jobs are, prepared.
        lock: The right to be the worker, where it was taken before.

    Raises:
        StorageError: Another process is this workspace's worker, or the database cannot be used.
    """
    from skill_fleet.jobs.store import JobStore
    from skill_fleet.jobs.supervise import ChildRunner
    from skill_fleet.jobs.worker import RunningWorker
    from skill_fleet.services.job_folders import keep_folders

    root = context.workspace.root
    runner = ChildRunner(
        JOB_COMMAND,
        {**context.loaded.environ, "SKILL_FLEET_WORKSPACE": str(root)},
        root,
        context.settings.server.grace_seconds,
    )
    worker = RunningWorker.start(database, worker_settings(context), runner, lock=lock)
    keep_folders(context.workspace, JobStore(database), worker)
    return worker


def worker_settings(context: Context) -> "WorkerSettings":
    """How a worker of this workspace works."""
    from skill_fleet.jobs.worker import WorkerSettings

    server = context.settings.server
    return WorkerSettings(
        jobs_at_once=server.jobs_at_once,
        jobs_everywhere=server.jobs_everywhere,
        jobs_per_provider=server.jobs_per_provider,
        heartbeat_seconds=server.heartbeat_seconds,
        grace_seconds=server.grace_seconds,
        keep_days=server.keep_days,
        silent_seconds=60.0 * server.silent_minutes,
    )
