"""A job in a process of its own: started, watched, interrupted, and killed where it does not listen."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.child import CONCLUDED, INTERRUPTED, LOST
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.remains import Remains
from skill_fleet.jobs.runner import Interruption, Outcome, Reason

_AT_ONCE = frozenset({"lease_lost", "silent"})
_LAST_GRACE = 3.0
_REAP_SECONDS = 5.0
_HUNG = "was killed: it hung, no call, no event and no progress for longer than `server.silent_minutes`"


@dataclass(frozen=True)
class ChildRunner:
    """Runs each job in a child process: `command… JOB_ID FENCE WORKER_ID`.

    The child ends by itself when its standard input ends, which is when this process does, however it dies.

    Attributes:
        command: What to start.
        environment: The child's whole environment; the database's address is in it, never an argument.
        folder: Where the child starts: the workspace.
        grace_seconds: How long a child that was interrupted may take before it is killed; when the worker
            stops, at most three seconds.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    grace_seconds: float = 10.0

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        """Run the job in a process until it is over, interrupted or dead. No process is left behind.

        Raises:
            StorageError: The process cannot be started.
        """
        process = await self._started(lease)
        remains = Remains()
        watching = [asyncio.create_task(remains.measure(process.pid))]
        if process.stderr is not None:
            watching.append(asyncio.create_task(remains.hear(process.stderr)))
        try:
            told = await self._until_over(process, interruption)
        finally:
            await _ended(process, watching)
        return _outcome(job, process.returncode, told, _left(remains, self.environment))

    async def _started(self, lease: Lease) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self.command,
                lease.job_id,
                str(lease.fence),
                lease.worker,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=PIPE,
                cwd=self.folder,
                env=dict(self.environment),
                start_new_session=True,
            )
        except OSError as error:
            raise StorageError(f"The process of a job cannot be started: {error.strerror}.") from error

    async def _until_over(self, process: Process, interruption: Interruption) -> Reason | None:
        """Wait for the end; interrupt the process when that is said, and give it the grace time."""
        over = asyncio.create_task(process.wait())
        said = asyncio.create_task(interruption.wait())
        try:
            await asyncio.wait({over, said}, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                return None
            if said.result() not in _AT_ONCE:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                grace = self.grace_seconds
                until = min(grace, _LAST_GRACE) if said.result() == "worker_stops" else grace
                await asyncio.wait({over}, timeout=until)
            return interruption.reason
        finally:
            over.cancel()
            said.cancel()


async def _ended(process: Process, watching: list[asyncio.Task[None]]) -> None:
    """Kill whatever is left of the process and of those it started, and hear it out.

    A task that is cancelled meanwhile, as at the end of the worker, goes on until the process is gone.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    loop = asyncio.get_running_loop()
    until = loop.time() + _REAP_SECONDS
    cancelled = False
    while process.returncode is None and loop.time() < until:
        try:
            async with asyncio.timeout_at(until):
                await process.wait()
        except TimeoutError:
            break
        except asyncio.CancelledError:
            cancelled = True
    measuring, *hearing = watching
    measuring.cancel()
    if hearing and not cancelled:
        await asyncio.wait(hearing, timeout=1.0)
    for task in hearing:
        task.cancel()
    if cancelled:
        raise asyncio.CancelledError


def _left(remains: Remains, environment: Mapping[str, str]) -> dict[str, Any]:
    return {"stderr": remains.last_words(environment), "peak_megabytes": remains.peak_megabytes}


def _outcome(job: Job, code: int | None, told: Reason | None, left: Mapping[str, Any]) -> Outcome:
    if told == "lease_lost" or code == LOST:
        return Outcome("lost")
    if code == CONCLUDED:
        return Outcome("concluded")
    if (told is not None and told != "silent") or code == INTERRUPTED:
        return Outcome("interrupted")
    peak = left["peak_megabytes"]
    memory = (
        f" It held {peak:.0f} MB of memory: perhaps too much."
        if code == -signal.SIGKILL and peak and told != "silent"
        else ""
    )
    error = {
        "code": "crashed",
        "message": f"The process of job {job.job_id} {_HUNG if told == 'silent' else _how(code)}.",
        "hint": f"Its last words are in the error's `stderr`.{memory}" if left["stderr"] else memory.strip(),
        "exit": code,
        **left,
    }
    return Outcome("crashed", error)


def _how(code: int | None) -> str:
    if code is None:
        return "cannot be ended"
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
