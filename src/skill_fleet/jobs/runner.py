"""Who runs a job once a worker has taken it up, and how it is told to stop."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from skill_fleet.jobs.records import Job, Lease

Reason = Literal["paused", "cancelled", "worker_stops", "silent", "lease_lost"]
"""Why a job is to stop: what was wanted of it, its worker's end, that it hangs, or that others took it up."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        kind: `concluded`: the store has the end of the job. `interrupted`: it stopped when it was told to and
            can go on. `crashed`: it died by itself. `lost`: somebody else holds the job now.
        error: `code`, `message`, `hint` of a crash, and what the process left (`exit`, `stderr`).
    """

    kind: Literal["concluded", "interrupted", "crashed", "lost"]
    error: Mapping[str, Any] | None = None


class Interruption:
    """A word to one run that it is to stop; given once, from the worker's event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason: Reason | None = None

    def give(self, reason: Reason) -> None:
        """Say it. Losing the job outweighs whatever was said before; otherwise the first word counts."""
        if self.reason is None or reason == "lease_lost":
            self.reason = reason
        self._event.set()

    async def wait(self) -> Reason:
        """Why, as soon as it is said."""
        await self._event.wait()
        assert self.reason is not None  # noqa: S101 - set before the event
        return self.reason


class Runner(Protocol):
    """Runs a job until it is over or interrupted. `ChildRunner` does it in a process; tests do nothing."""

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        """Run the job under its lease.

        The runner writes the end of the job into the store itself (a child process has its own connection).
        A cancelled task (`asyncio.CancelledError`) must leave no process behind.
        """
        ...
