"""A worker: takes jobs from the queue, in background threads of the process that starts it."""

import contextlib
import os
import secrets
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.keeper import Keeper
from skill_fleet.jobs.queue import JOBS_VERSION, JobQueue
from skill_fleet.jobs.reaper import Reaper
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.worker_lock import WorkerLock
from skill_fleet.jobs.worker_store import WorkerStore

if TYPE_CHECKING:
    from skill_fleet.jobs.queue_engine import Limits
    from skill_fleet.jobs.runner import Runner
    from skill_fleet.jobs.workflow import JobWork

_BEATS = 3
_LAST_SECONDS = 1.5
_LOOK_SECONDS = 0.05
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerSettings:
    """How a worker works.

    Attributes:
        jobs_at_once: How many jobs this worker runs at a time.
        jobs_everywhere: How many all workers together run at a time; None is no limit.
        jobs_per_provider: How many of one provider all workers together run at a time; None is no limit. With
            a limit, priorities count among the jobs of one provider only.
        heartbeat_seconds: A worker whose last beat is older than this is dead; it beats three times as often.
        grace_seconds: How long a child that was interrupted may take before it is killed.
        keep_days: How long a finished job is kept.
        poll_seconds: How often the queue is looked at.
        silent_seconds: A job of which nothing is heard for longer hangs: its process is killed, as a crash.
    """

    jobs_at_once: int = 2
    jobs_everywhere: int | None = None
    jobs_per_provider: int | None = None
    heartbeat_seconds: float = 15.0
    grace_seconds: float = 10.0
    keep_days: float = 90
    poll_seconds: float = 0.5
    silent_seconds: float = 1800.0


def take_work(database: Database) -> WorkerLock | None:
    """The right to be the worker: of an embedded database one process has it; None where any may be.

    Raises:
        StorageError: Another process has it.
    """
    if database.folder is None:
        return None
    lock = WorkerLock(database.folder)
    lock.take(os.getpid())
    return lock


class RunningWorker:
    """A worker under way: one in a process, safe between threads. Made by `start`.

    A worker that was declared dead, because its process was stopped or the database was away for longer than
    a heartbeat, kills its children at once and starts over under a new name.

    Args:
        database: Prepared, and patient or not: a database that is away is waited for.
        settings: How it works.
        runner: Who runs its jobs.
        version: Of the jobs' protocol.
        clock: For waiting.
        lock: Of an embedded database; it is let go of at the end.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        runner: "Runner",
        *,
        version: str = JOBS_VERSION,
        clock: Clock = SYSTEM_CLOCK,
        lock: WorkerLock | None = None,
    ) -> None:
        self.worker_id = ""
        """Its name; changes when it starts over."""
        self.failed: Exception | None = None
        """Why it works no more, though nobody stopped it."""
        self._database, self._settings, self._runner = database, settings, runner
        self._version, self._clock = version, clock
        self._store, self._workers = JobStore(database), WorkerStore(database)
        self._queue = JobQueue(database, version, clock=clock)
        self._lock = lock
        self._stop = threading.Event()
        self._until = 0.0
        self._away: StorageError | None = None
        self._keeping: Keeper | None = None
        self._began = threading.Event()
        self._thread = threading.Thread(target=self._live, name="worker", daemon=True)

    @classmethod
    def start(
        cls,
        database: Database,
        settings: WorkerSettings,
        runner: "Runner",
        *,
        version: str = JOBS_VERSION,
        clock: Clock = SYSTEM_CLOCK,
        lock: WorkerLock | None = None,
    ) -> "RunningWorker":
        """Start working; returns when the worker is registered and takes jobs.

        Raises:
            StorageError: Embedded, and another process is the worker already; or the database cannot be used.
        """
        worker = cls(
            database, settings, runner, version=version, clock=clock, lock=lock or take_work(database)
        )
        worker._thread.start()
        worker._began.wait()
        if worker.failed is not None:
            worker._thread.join()
            raise worker.failed
        return worker

    def stop(self, within: float = 5.0) -> None:
        """Take no new job, interrupt those that run, hand them back, say goodbye; in about so many seconds.

        Never raises: what cannot be written down now is found by the next worker.
        """
        self._until = self._clock.monotonic() + within
        self._stop.set()
        self._thread.join(within + _LAST_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether it is working."""
        return self._thread.is_alive()

    @property
    def trouble(self) -> Exception | None:
        """Why it cannot work just now, or not wholly: for whoever asks whether it is ready."""
        return self._away or (None if self._keeping is None else self._keeping.trouble)

    def _live(self) -> None:
        """The worker's own thread: the engine would adopt the event loop of the caller's."""
        try:
            while not self._stop.is_set():
                self._one_life()
        except Exception as error:  # noqa: BLE001 - the thread's edge: whoever started it asks for `failed`
            self.failed = error
        finally:
            self._began.set()
            self._queue.close()
            if self._lock is not None:
                self._lock.release()

    def _one_life(self) -> None:
        """Work under one name, until the worker is stopped or was declared dead."""
        from skill_fleet.jobs import queue_engine
        from skill_fleet.jobs.workflow import JobWork

        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        work = JobWork(self._store, self._runner, name, silent_seconds=self._settings.silent_seconds)
        keeper = self._keeping = self._keeper()
        alive = True
        try:
            self._register(name)
            queue_engine.launch(
                self._database,
                worker_id=name,
                version=self._version,
                limits=self._limits(),
                work=work.take_up,
            )
            self.worker_id, self._away = name, None
            keeper.start()
            self._began.set()
            alive = self._beat_until_over(name, keeper)
            work.stop("worker_stops" if alive else "lease_lost")
            keeper.stop()
            if alive:
                self._wait_for(work, name)
        except StorageError as error:
            if error.code != "unavailable" or not self._began.is_set():
                raise
            self._away = error
            self._stop.wait(_PAUSE_SECONDS)
        finally:
            keeper.stop()
            queue_engine.end()
        self._hand_back(work, name, alive=alive)

    def _register(self, name: str) -> None:
        self._workers.register(name, host=socket.gethostname(), pid=os.getpid(), version=self._version)
        if self._lock is not None:
            self._workers.declare_others_dead(name)

    def _limits(self) -> "Limits":
        from skill_fleet.jobs.queue_engine import Limits

        settings = self._settings
        return Limits(
            settings.jobs_at_once, settings.jobs_everywhere, settings.jobs_per_provider, settings.poll_seconds
        )

    def _keeper(self) -> Keeper:
        heartbeat = self._settings.heartbeat_seconds
        reaper = Reaper(self._database, self._queue, self._store, self._workers, heartbeat)
        return Keeper(reaper, keep_days=self._settings.keep_days, clock=self._clock)

    def _beat_until_over(self, name: str, keeper: Keeper) -> bool:
        """Beat. False when the worker was declared dead, True when it is stopped."""
        while not self._stop.wait(self._settings.heartbeat_seconds / _BEATS):
            try:
                if not self._workers.beat(name):
                    return False
                self._away = None
            except StorageError as error:
                self._away = error
                # The others could not beat either: they are given the time to.
                keeper.spare(self._settings.heartbeat_seconds)
        return True

    def _wait_for(self, work: "JobWork", name: str) -> None:
        """Until the interrupted jobs have ended, or there is only just time to end the rest."""
        beat_at = self._clock.monotonic()
        while work.busy and (now := self._clock.monotonic()) < self._until - _LAST_SECONDS:
            if now >= beat_at:
                beat_at = now + self._settings.heartbeat_seconds / _BEATS
                with contextlib.suppress(StorageError):
                    self._workers.beat(name)
            self._clock.sleep(_LOOK_SECONDS)

    def _hand_back(self, work: "JobWork", name: str, *, alive: bool) -> None:
        """After the engine's end: what this worker still holds is queued again, for whoever comes.

        Where it was declared dead, others see to its workflows already.
        """
        with contextlib.suppress(StorageError):
            for lease in list(work.leases.values()):
                with contextlib.suppress(LeaseLost):
                    self._store.hand_back(lease)
            for workflow in self._queue.taken() if alive else ():
                if workflow.worker == name:
                    self._queue.put_back(workflow.workflow_id)
            self._workers.say_goodbye(name)
