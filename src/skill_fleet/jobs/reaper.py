"""What dead workers have left, and what older versions have queued, goes back into the queue."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from skill_fleet.foundation.errors import NotFound
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.queue import JobQueue, QueuedWorkflow
from skill_fleet.jobs.records import JobSummary, Status
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.worker_store import WorkerStore

# Of PostgreSQL's advisory locks: any number that nobody else uses.
_LOCK_NUMBER = 0x5F1E_E7_0002
_ADOPTED_AT_ONCE = 500
_RUNNING_AT_MOST = 1000
_REMEMBERED_SECONDS = 3600.0
_RUNNING: tuple[Status, ...] = ("running",)


@dataclass(frozen=True)
class Reaped:
    """What was done; workflows by name.

    Attributes:
        dead: Workers that were declared dead.
        put_back: Taken by a worker that is gone, now waiting again.
        adopted: Of an older version, now queued again as their job's next attempt.
        rescued: Running or waiting by the store, unknown to the queue, queued again in the same way.
    """

    dead: tuple[str, ...] = ()
    put_back: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    rescued: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reaper:
    """Sees to the jobs of workers that are gone. One at a time does it, whichever worker comes first.

    Attributes:
        database: Of the jobs.
        queue: Where they go back to.
        store: The jobs.
        workers: The workers.
        heartbeat_seconds: Whose last beat is older than this is dead.
    """

    database: Database
    queue: JobQueue
    store: JobStore
    workers: WorkerStore
    heartbeat_seconds: float

    def reap(self) -> Reaped:
        """Do what there is to do; nothing where another worker is at it.

        Raises:
            StorageError: The database does not answer; what was done is done, the rest comes next time.
        """
        with self._alone() as alone:
            if not alone:
                return Reaped()
            dead = (
                tuple(self.workers.declare_dead(self.heartbeat_seconds))
                if not self.database.is_sqlite
                else ()
            )
            # In this order: who takes a job was registered before, and a job that runs was taken before.
            running = self.store.page(statuses=_RUNNING, limit=_RUNNING_AT_MOST)
            waiting = self.store.waiting(self.heartbeat_seconds)
            taken = self.queue.taken()
            alive = {worker.worker_id for worker in self.workers.list() if worker.state == "alive"}
            left = [workflow for workflow in taken if workflow.worker not in alive]
            older = self._older_versions()
            put_back = [workflow for workflow in left if workflow.version not in older]
            for workflow in put_back:
                self.queue.put_back(workflow.workflow_id)
            adopted = [workflow for workflow in left if workflow.version in older]
            adopted += self.queue.waiting(versions=older, limit=_ADOPTED_AT_ONCE)
            for workflow in adopted:
                self._adopt(workflow)
            rescued = self._rescued([*running, *waiting], taken)
            self._forget(taken)
        return Reaped(dead, _names(put_back), _names(adopted), rescued)

    def _adopt(self, workflow: QueuedWorkflow) -> None:
        with contextlib.suppress(NotFound):
            self._queue_again(workflow.job_id, workflow.attempt)
        # Last: whoever dies before this finds the workflow again, and the job's next attempt already there.
        self.queue.take_out(workflow.workflow_id)

    def _queue_again(self, job_id: str, attempt: int) -> None:
        job = self.store.next_attempt(job_id, attempt)
        if job.status == "queued" and job.attempt > attempt:
            self.queue.enqueue(job)
            self.store.enqueued(job.job_id, job.attempt)

    def _rescued(self, unfinished: list[JobSummary], taken: list[QueuedWorkflow]) -> tuple[str, ...]:
        """Jobs that nobody runs and nobody will: their workflow failed, or was taken out of the queue."""
        known = {workflow.workflow_id for workflow in taken}
        unknown = [job for job in unfinished if job.workflow_id not in known]
        live = self.queue.live([job.workflow_id for job in unknown])
        lost = [job for job in unknown if job.workflow_id not in live]
        for job in lost:
            # It may be over meanwhile, and even removed: then there is nothing to do.
            with contextlib.suppress(NotFound):
                self._queue_again(job.job_id, job.attempt)
        return tuple(job.workflow_id for job in lost)

    def _forget(self, taken: list[QueuedWorkflow]) -> None:
        """Workers that are gone for an hour and of which nothing was left."""
        holding = {workflow.worker for workflow in taken}
        workers = self.workers.list()
        now = max((worker.heartbeat_at for worker in workers), default=0.0)
        for worker in workers:
            old = worker.heartbeat_at < now - _REMEMBERED_SECONDS
            if old and worker.state != "alive" and worker.worker_id not in holding:
                self.workers.gone(worker.worker_id)

    def _older_versions(self) -> list[str]:
        mine = _rank(self.queue.version)
        return [version for version in self.queue.versions() if _rank(version) < mine]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this is the only reaper; the embedded database has one worker, and so one reaper.

        A reaper that stands still loses the lock, when its session has been idle for a heartbeat.
        """
        if self.database.is_sqlite:
            yield True
            return
        number = sa.literal(_LOCK_NUMBER, sa.BigInteger)
        patience = str(int(self.heartbeat_seconds * 1000))
        lock = sa.select(
            sa.func.pg_try_advisory_xact_lock(number),
            sa.func.set_config("idle_in_transaction_session_timeout", patience, sa.true()),
        )
        try:
            connection = self.database.engine.connect()
        except sa.exc.DBAPIError as error:
            raise self.database.explained(error) from None
        try:
            yield self._locked(connection, lock)
        finally:
            # The session may have been ended: so was the lock.
            with contextlib.suppress(sa.exc.DBAPIError):
                connection.rollback()
            with contextlib.suppress(sa.exc.DBAPIError):
                connection.close()

    def _locked(self, connection: sa.Connection, lock: sa.Select[bool, str]) -> bool:
        try:
            return bool(connection.execute(lock).one()[0])
        except sa.exc.DBAPIError as error:
            raise self.database.explained(error) from None


def _names(workflows: list[QueuedWorkflow]) -> tuple[str, ...]:
    return tuple(workflow.workflow_id for workflow in workflows)


def _rank(version: str) -> int:
    return int(version) if version.isdecimal() else 0
