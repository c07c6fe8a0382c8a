"""The durable queue: one DBOS workflow for each time a job is put into it."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock, iso
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.queue_names import APPLICATION, QUEUE, WORKFLOW
from skill_fleet.jobs.records import JobSummary

if TYPE_CHECKING:
    from dbos import DBOSClient

JOBS_VERSION = "1"
"""Of the protocol between queue, worker and child: raised when an old job cannot be run as it is."""

WAITING = ("ENQUEUED", "DELAYED")
TAKEN = "PENDING"
_DAY_SECONDS = 86_400
_FORGOTTEN_AT_ONCE = 500


@dataclass(frozen=True)
class QueuedWorkflow:
    """One putting-into-the-queue, as the queue has it.

    Attributes:
        workflow_id: `{job_id}.{attempt}`.
        version: Of the jobs' protocol it was put in under.
        worker: Who took it last; None where nobody did.
    """

    workflow_id: str
    version: str
    worker: str | None

    @property
    def job_id(self) -> str:
        """The job."""
        return self.workflow_id.rpartition(".")[0]

    @property
    def attempt(self) -> int:
        """Which putting-into-the-queue of it."""
        return int(self.workflow_id.rpartition(".")[2])


class JobQueue:
    """Puts jobs into the queue and takes them out again; runs none. Safe between threads.

    Connects when first used. The server keeps one, and each worker has its own.

    Args:
        database: Where the queue is.
        version: Under which protocol jobs are put in.
        clock: For what is old enough to be forgotten.
    """

    def __init__(
        self, database: Database, version: str = JOBS_VERSION, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._database = database
        self._clock = clock
        self.version = version
        self._lock = threading.Lock()
        self._opened: DBOSClient | None = None

    def enqueue(self, job: JobSummary) -> None:
        """Put this attempt of a job into the queue; where it is already there, nothing happens.

        Raises:
            StorageError: The queue's database does not answer.
        """
        with self._asked() as client:
            client.enqueue(
                {
                    "workflow_name": WORKFLOW,
                    "queue_name": QUEUE,
                    "workflow_id": job.workflow_id,
                    "app_version": self.version,
                    "priority": job.priority,
                    "queue_partition_key": job.provider,
                },
                job.job_id,
                job.attempt,
            )

    def cancel(self, job: JobSummary) -> None:
        """Take this attempt of a job out of the queue while it waits there; else nothing happens.

        A job that runs is not ended by this: its worker sees what is wanted of it in the store.

        Raises:
            StorageError: The queue's database does not answer.
        """
        if self._status(job.workflow_id) in WAITING:
            self.take_out(job.workflow_id)

    def take_out(self, workflow_id: str) -> None:
        """Take a workflow out of the queue, whether it waits or runs."""
        with self._asked() as client:
            client.cancel_workflow(workflow_id)

    def put_back(self, workflow_id: str) -> None:
        """Let another worker take a workflow whose worker is gone."""
        with self._asked() as client:
            client.resume_workflow(workflow_id, queue_name=QUEUE)

    def taken(self) -> list[QueuedWorkflow]:
        """All workflows that some worker has taken and not ended."""
        return self._listed([TAKEN])

    def waiting(self, *, versions: list[str], limit: int = 100) -> list[QueuedWorkflow]:
        """Workflows of some versions that nobody has taken yet, oldest first."""
        return self._listed(list(WAITING), versions=versions, limit=limit) if versions else []

    def versions(self) -> list[str]:
        """The versions of all workers that ever served this queue."""
        with self._asked() as client:
            return [version["version_name"] for version in client.list_application_versions()]

    def is_live(self, workflow_id: str) -> bool:
        """Whether it waits or runs: somebody will see to it."""
        return bool(self.live([workflow_id]))

    def live(self, workflow_ids: list[str]) -> set[str]:
        """Those of some workflows that wait or run."""
        if not workflow_ids:
            return set()
        with self._asked() as client:
            found = client.list_workflows(
                workflow_ids=workflow_ids, status=[*WAITING, TAKEN], load_input=False, load_output=False
            )
        return {workflow.workflow_id for workflow in found}

    def forget(self, older_than_days: float) -> int:
        """Remove the queue's own records of what ended so long ago.

        Returns:
            How many.
        """
        until = iso(self._clock.now() - older_than_days * _DAY_SECONDS)
        gone = 0
        with self._asked() as client:
            while old := client.list_workflows(
                completed_before=until, limit=_FORGOTTEN_AT_ONCE, load_input=False, load_output=False
            ):
                client.delete_workflows([workflow.workflow_id for workflow in old])
                gone += len(old)
        return gone

    def close(self) -> None:
        """Let go of the connections; the next use opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.destroy()

    def _status(self, workflow_id: str) -> str | None:
        with self._asked() as client:
            found = client.list_workflows(
                workflow_ids=[workflow_id], load_input=False, load_output=False, limit=1
            )
        return found[0].status if found else None

    def _listed(
        self, statuses: list[str], *, versions: list[str] | None = None, limit: int | None = None
    ) -> list[QueuedWorkflow]:
        with self._asked() as client:
            found = client.list_workflows(
                status=statuses,
                queue_name=QUEUE,
                app_version=versions,
                limit=limit,
                load_input=False,
                load_output=False,
            )
        return [QueuedWorkflow(w.workflow_id, w.app_version or "", w.executor_id) for w in found]

    @contextlib.contextmanager
    def _asked(self) -> "Iterator[DBOSClient]":
        from dbos import error as dbos_error

        try:
            yield self._client()
        except dbos_error.DBOSException as error:
            raise StorageError(f"The queue of {self._database.place} refuses: {error}") from error
        except sa.exc.DBAPIError as error:
            raise self._database.explained(error) from None
        except sa.exc.SQLAlchemyError as error:
            raise StorageError(
                f"The queue of {self._database.place} does not answer.", code="unavailable"
            ) from error

    def _client(self) -> "DBOSClient":
        with self._lock:
            if self._opened is None:
                from dbos import DBOSClient

                from skill_fleet.jobs.queue_engine import SERIALIZER, quiet

                quiet()
                self._opened = DBOSClient(
                    system_database_url=self._database.queue_url,
                    serializer=SERIALIZER,
                    application_name=APPLICATION,
                    lazy=True,
                    retry_connection_errors=False,
                )
            return self._opened
