"""Jobs that hang: nothing is heard of them, and their process is started again."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from jobs.workers_help import Fleet, gone
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.workflow import Silence

SILENT = 5.0
"""More than the process of a job takes to begin on a busy machine."""
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
def test_a_job_that_hangs_is_killed_as_a_crash(fleet: Fleet) -> None:
    fleet.here(silent_seconds=SILENT, grace_seconds=600.0)
    # The first step comes quickly, the second never; it listens to no signal either.
    job = fleet.job(steps=2, seconds=0.2, deaf=True, hang=2)
    fleet.wait(job, until=lambda job: job.progress > 0)
    [child] = fleet.children(job)
    fleet.wait(job, until=lambda job: job.crashes > 0)
    assert gone(child)
    at = {event.kind: datetime.fromisoformat(event.at) for event in fleet.store.events(job)}
    assert (at["crashed"] - at["step"]).total_seconds() > 0.8 * SILENT
    [crash] = [data["error"] for kind, data in fleet.told(job) if kind == "crashed"]
    assert "it hung, no call, no event and no progress" in crash["message"]
    assert crash["code"] == "crashed"
    fleet.wait(job, until=lambda job: job.fence == 2)


class Talkative:
    """Does nothing for longer than a job may be silent, and says so in between."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        begun = time.monotonic()
        while time.monotonic() - begun < 1.3 * SILENT:
            if interruption.reason is not None:
                return Outcome("crashed", {"code": "crashed", "message": interruption.reason, "hint": ""})
            await asyncio.sleep(0.2)
            await asyncio.to_thread(self.store.append, lease, [("step", {})])
        await asyncio.to_thread(self.store.conclude, lease, "succeeded")
        return Outcome("concluded")


@SQLITE
def test_a_slow_job_does_not_hang(fleet: Fleet) -> None:
    fleet.here(runner=Talkative(fleet.store), silent_seconds=SILENT)
    job = fleet.job()
    fleet.wait(job, "succeeded")
    assert fleet.counts(job)["crashed"] == 0


def silence(*times: float) -> Silence:
    left: Iterator[float] = iter(times)
    return Silence(lambda: next(left))


def test_it_grows_until_something_is_told() -> None:
    heard = silence(0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0)
    assert [heard.after(changes) for changes in (7, 7, 7, 8, 8)] == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_a_machine_that_slept_was_not_silent() -> None:
    heard = silence(0.0, 0.0, 0.0, 1.0, 7200.0)
    assert [heard.after(7) for _ in range(3)] == [0.0, 1.0, 11.0]


def test_a_store_that_was_away_could_be_told_nothing() -> None:
    heard = silence(0.0, 0.0, 0.0, 9.0, 10.0, 11.0)
    assert [heard.after(7), heard.after(7)] == [0.0, 9.0]
    heard.broken()
    assert heard.after(7) == 1.0
