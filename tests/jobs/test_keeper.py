"""Housekeeping goes on, whatever happens to it, and says what hinders it."""

import asyncio
import logging

import pytest
import sqlalchemy as sa

from jobs.workers_help import Fleet, within
from skill_fleet.foundation.errors import NotFound, StorageError
from skill_fleet.jobs.keeper import Keeper
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.workflow import JobWork

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class House:
    """What a keeper keeps: no jobs, and a reaper that raises what it is told to."""

    heartbeat_seconds = 0.03

    def __init__(self, *errors: Exception) -> None:
        self.store = self.queue = self
        self.errors = list(errors)
        self.reaped = self.expired = 0

    def left_behind(self, older_than: float) -> list[Job]:
        return []

    def expire(self, days: float) -> int:
        self.expired += 1
        return 0

    def forget(self, days: float) -> int:
        return 0

    def reap(self) -> None:
        self.reaped += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), StorageError("the disk is full")])
def test_what_nobody_expected_is_told_and_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(*[error] * 4)
    keeper = Keeper(house, keep_days=1)  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        keeper.start()
        assert within(lambda: keeper.trouble) is error
        assert house.expired == 1  # the rest of the house is kept
        within(lambda: house.reaped > 4 and keeper.trouble is None)
        keeper.stop()
    said = [record for record in caplog.records if record.name == "skill_fleet.jobs.keeper"]
    assert len(said) == isinstance(error, RuntimeError)  # once, not each time


def test_a_job_that_went_meanwhile_is_no_trouble() -> None:
    house = House(NotFound("There is no such job."))
    keeper = Keeper(house, keep_days=1)  # type: ignore[arg-type]
    keeper.start()
    within(lambda: house.reaped > 1)
    assert keeper.trouble is None
    keeper.stop()


@SQLITE
def test_a_worker_tells_that_its_house_is_not_kept(fleet: Fleet) -> None:
    worker = fleet.here(nothing=0.0)
    assert worker.trouble is None
    rename = "alter table {} rename to {}"
    fleet.database.write(lambda db: db.execute(sa.text(rename.format("job", "gone"))))
    assert isinstance(within(lambda: worker.trouble), StorageError)
    fleet.database.write(lambda db: db.execute(sa.text(rename.format("gone", "job"))))
    within(lambda: worker.trouble is None)
    fleet.wait(fleet.job(), "succeeded")


class FullStore(JobStore):
    """Cannot be written at first."""

    refusals = 2

    def claim(self, job_id: str, attempt: int, worker: str) -> Lease | Job:
        if self.refusals:
            self.refusals -= 1
            raise StorageError("The disk is full.")
        return super().claim(job_id, attempt, worker)


class Ending:
    """Ends the job at once."""

    def __init__(self, store: JobStore) -> None:
        self.store = store

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        self.store.conclude(lease, "succeeded")
        return Outcome("concluded")


def test_a_job_is_taken_up_when_the_store_can_be_written_again(fleet: Fleet) -> None:
    store = FullStore(fleet.database)
    work = JobWork(store, Ending(store), "worker")
    assert asyncio.run(work.take_up(fleet.job(), 1)) == "succeeded"
    assert store.refusals == 0
