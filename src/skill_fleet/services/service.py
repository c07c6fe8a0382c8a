"""What a server and the commands beside it may touch: the stores, the queue, and who answers questions."""

from dataclasses import dataclass, field
from typing import Any

from skill_fleet.jobs.audit import Audit
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.key_store import KeyStore
from skill_fleet.jobs.queue import JobQueue
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.worker_store import WorkerStore
from skill_fleet.services.asking import Helper, helper_of
from skill_fleet.services.context import Context


@dataclass(frozen=True)
class Service:
    """The composition of the service.

    Attributes:
        context: Settings and workspace.
        database: Where everything below is kept.
        jobs: What clients see of jobs.
        queue: What workers take jobs from.
        keys: Who may come in.
        workers: Who does the jobs.
        files: What of a job's folder is kept.
        audit: Who did what.
        helper: Answers what needs dspy: checks, estimates, recommendations.
        batches: The same for what takes long, so that nobody waits behind it.
        known: Answers that cannot change while this process lives.
    """

    context: Context
    database: Database
    jobs: JobStore
    queue: JobQueue
    keys: KeyStore
    workers: WorkerStore
    files: FileStore
    audit: Audit
    helper: Helper
    batches: Helper
    known: dict[str, Any] = field(default_factory=dict)

    async def dismiss(self) -> None:
        """End the processes that answer; from the event loop in which they were asked."""
        await self.helper.aclose()
        await self.batches.aclose()

    def close(self) -> None:
        """Close what is open."""
        self.queue.close()
        self.database.close()


def open_service(context: Context) -> Service:
    """The service of a workspace, its own tables made ready; the queue's are made by who uses them.

    Raises:
        StorageError: The database cannot be reached or written, or is of a newer skill-fleet.
        ConfigError: Its address is none.
    """
    database = open_database(context.workspace, context.loaded.database)
    prepare_database(database, queue=False)
    return Service(
        context,
        database,
        JobStore(database),
        JobQueue(database),
        KeyStore(database),
        WorkerStore(database),
        FileStore(database),
        Audit(database, context.clock),
        helper_of(context),
        helper_of(context),
    )
