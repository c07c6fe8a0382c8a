"""What a worker does with a job that the queue gives it: take it up, have it run, write down how it ended."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from skill_fleet.foundation.errors import LeaseLost, NotFound, SkillFleetError, StorageError
from skill_fleet.jobs.holding import DEATHS, ended_from_outside
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome, Reason, Runner
from skill_fleet.jobs.store import JobStore

T = TypeVar("T")

CRASHES = 3
"""So often a job's process may die by itself without getting further, until the job has failed."""
LOOK_SECONDS = 0.5
SILENT_SECONDS = 1800.0
_LONGEST_LOOK_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0


class JobWork:
    """The jobs that one worker has taken from the queue, each in a task of the queue's event loop.

    Args:
        store: Of the jobs.
        runner: Who runs them.
        worker_id: Under whose name they are taken up.
        silent_seconds: A job of which nothing is heard for longer hangs, and its process is killed.
    """

    def __init__(
        self, store: JobStore, runner: Runner, worker_id: str, *, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        self.leases: dict[str, Lease] = {}
        """Of the jobs at hand, by workflow; those that a stopping worker could not bring to an end stay."""
        self._store, self._runner, self._worker_id = store, runner, worker_id
        self._silent_seconds = silent_seconds
        self._interruptions: set[Interruption] = set()
        self._stopping: Reason | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take_up(self, job_id: str, attempt: int) -> str:
        """Work on a job until there is nothing left to do for this worker. A replay takes it up anew.

        Returns:
            The job's status, or `lost`.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            if self._stopping is not None:
                await _for_ever()
            taken = await self._claimed(job_id, attempt)
            if taken is None:
                return "removed"
            if isinstance(taken, Job):
                return taken.status
            workflow_id = f"{job_id}.{attempt}"
            self.leases[workflow_id] = taken
            status = await self._worked(taken)
            if status == "queued" and self._stopping is not None:
                await _for_ever()
            self.leases.pop(workflow_id, None)
            if status is not None:
                return status

    def stop(self, reason: Reason) -> None:
        """Take up no further job and interrupt those at hand. From any thread."""
        self._stopping = reason
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its tasks with it
                self._loop.call_soon_threadsafe(self._interrupt, reason)

    @property
    def busy(self) -> bool:
        """Whether anything is still being run."""
        return bool(self._interruptions)

    def _interrupt(self, reason: Reason) -> None:
        for interruption in self._interruptions:
            interruption.give(reason)

    async def _claimed(self, job_id: str, attempt: int) -> Lease | Job | None:
        try:
            return await asked(self._store.claim, job_id, attempt, self._worker_id)
        except NotFound:
            return None

    async def _worked(self, lease: Lease) -> str | None:
        """The job's status after a run; None when it is to be taken up again."""
        interruption = Interruption()
        self._interruptions.add(interruption)
        try:
            if self._stopping is not None:
                interruption.give(self._stopping)
            outcome = await self._run(lease, interruption)
            return await self._settled(lease, outcome)
        except LeaseLost:
            return "lost"
        except NotFound:
            return "removed"
        finally:
            self._interruptions.discard(interruption)

    async def _run(self, lease: Lease, interruption: Interruption) -> Outcome:
        job = await asked(self._store.get, lease.job_id)
        watching = asyncio.create_task(self._watch(lease, interruption))
        try:
            return await self._runner.run(job, lease, interruption)
        except StorageError as error:
            return Outcome("crashed", _told(error))
        finally:
            watching.cancel()

    async def _watch(self, lease: Lease, interruption: Interruption) -> None:
        """Say to the run what is wanted of its job, and whether the job is still this worker's, or hangs."""
        silence = Silence(asyncio.get_running_loop().time)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                look = await asyncio.to_thread(self._store.look, lease)
            except LeaseLost:
                # It may be over just now, by its own process: that is given the time to end.
                if await self._is_others(lease):
                    interruption.give("lease_lost")
                    return
            except StorageError:
                silence.broken()  # nobody could tell it anything; it may be back at the next look
            else:
                if look.wanted is not None:
                    interruption.give(look.wanted)
                elif silence.after(look.changes) > self._silent_seconds:
                    interruption.give("silent")

    async def _is_others(self, lease: Lease) -> bool:
        try:
            job = await asyncio.to_thread(self._store.get, lease.job_id)
        except NotFound:
            return True
        except StorageError:
            return False
        return job.fence != lease.fence or job.status == "queued"

    async def _settled(self, lease: Lease, outcome: Outcome) -> str | None:
        if outcome.kind == "lost":
            return "lost"
        if outcome.kind != "crashed":
            job = await asked(self._store.get, lease.job_id)
            if job.fence != lease.fence:
                return "lost"
            if job.status != "running":
                return job.status
            if outcome.kind == "interrupted" and (self._stopping is not None or job.wanted is not None):
                return (await asked(self._store.hand_back, lease)).status
        if outcome.kind == "interrupted":
            return await self._cut_off(lease)
        return await self._crashed(lease, outcome.error or _SILENT)

    async def _crashed(self, lease: Lease, error: Any) -> str | None:
        crashes = await asked(self._store.crashed, lease, error)
        if self._stopping is not None:
            return (await asked(self._store.hand_back, lease)).status
        if crashes < CRASHES:
            return await self._rested(lease, _PAUSE_SECONDS * (crashes - 1))
        message = f"{error['message'].rstrip('.')}, {crashes} times without getting further."
        return await self._given_up(lease, {**error, "code": "crashed", "message": message})

    async def _cut_off(self, lease: Lease) -> str | None:
        """Its process was told to end, and not by this worker: it goes on, as after a worker's death."""
        deaths = await asked(self._store.cut_off, lease, _FROM_OUTSIDE)
        if self._stopping is not None:
            return (await asked(self._store.hand_back, lease)).status
        if deaths < DEATHS:
            return await self._rested(lease, min(_PAUSE_SECONDS * (deaths - 1), _LONGEST_PAUSE_SECONDS))
        job = await asked(self._store.get, lease.job_id)
        return await self._given_up(lease, ended_from_outside(job))

    async def _rested(self, lease: Lease, seconds: float) -> str | None:
        """None after so many seconds; the job's status when more is wanted of it, or its worker stops."""
        reason = await self._said_within(lease, seconds)
        if reason is None or reason == "silent":
            return None
        if reason == "lease_lost":
            return "lost"
        return (await asked(self._store.hand_back, lease)).status

    async def _said_within(self, lease: Lease, seconds: float) -> Reason | None:
        interruption = Interruption()  # that of the run may have been given: it is over
        self._interruptions.add(interruption)
        watching = asyncio.create_task(self._watch(lease, interruption))
        try:
            async with asyncio.timeout(seconds):
                return await interruption.wait()
        except TimeoutError:
            return None
        finally:
            watching.cancel()
            self._interruptions.discard(interruption)

    async def _given_up(self, lease: Lease, error: Mapping[str, Any]) -> str:
        job = await asked(self._store.conclude, lease, "failed", error=error, message=error["message"])
        return job.status


class Silence:
    """For how long nothing was told of a job: no call, no event, no progress.

    Only what was looked at counts: a worker whose machine slept has heard nothing, but nobody was silent.

    Args:
        time: Seconds on a clock that never goes back.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time, self._at, self._seconds = time, time(), 0.0
        self._changes: int | None = None

    def broken(self) -> None:
        """Begin anew."""
        self._at, self._seconds = self._time(), 0.0

    def after(self, changes: int) -> float:
        """Its seconds, by a look at all that was ever told."""
        if changes != self._changes:
            self._changes = changes
            self.broken()
        now = self._time()
        self._seconds += min(now - self._at, _LONGEST_LOOK_SECONDS)
        self._at = now
        return self._seconds


_FROM_OUTSIDE = {
    "code": "interrupted_from_outside",
    "message": "The process of the job was interrupted from outside (SIGINT or SIGTERM).",
    "hint": "To stop a job: skill-fleet jobs pause, or cancel.",
}
_SILENT = {
    "code": "crashed",
    "message": "The process of the job ended without a word about how it went.",
    "hint": "",
}


async def asked(ask: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """What the store says, in a thread of its own; a store that cannot be used, or is full, is waited for."""
    while True:
        try:
            return await asyncio.to_thread(ask, *arguments, **options)
        except StorageError:
            await asyncio.sleep(_PAUSE_SECONDS)


def _told(error: SkillFleetError) -> dict[str, Any]:
    return error.to_json()


async def _for_ever() -> None:
    """Until the queue's engine ends: the workflow stays taken, and is put back after that."""
    await asyncio.Event().wait()
