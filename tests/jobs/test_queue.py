"""Putting jobs into the queue and taking them out, and housekeeping; nobody works here."""

import inspect
import logging

import pytest
from dbos import _outcome

from jobs.workers_help import Fleet
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.queue import JobQueue, QueuedWorkflow
from skill_fleet.jobs.queue_engine import quiet
from skill_fleet.jobs.sweeper import expire, sweep


class Later:
    """A clock a year from now."""

    def __init__(self) -> None:
        from skill_fleet.foundation.clock import SYSTEM_CLOCK

        self.now = lambda: SYSTEM_CLOCK.now() + 366 * 86_400
        self.monotonic, self.sleep = SYSTEM_CLOCK.monotonic, SYSTEM_CLOCK.sleep


def test_a_job_is_in_the_queue_once_however_often_it_is_put_in(fleet: Fleet) -> None:
    job = fleet.store.get(fleet.job())
    for _ in range(3):
        fleet.put_in(job)
    assert fleet.queue.waiting(versions=["1"]) == [QueuedWorkflow(f"{job.job_id}.1", "1", None)]
    assert fleet.queue.is_live(job.workflow_id)
    assert fleet.queue.taken() == []


def test_a_waiting_job_is_taken_out_and_cannot_be_put_in_again(fleet: Fleet) -> None:
    job = fleet.store.get(fleet.job())
    fleet.queue.cancel(job)
    fleet.queue.cancel(job)
    fleet.queue.enqueue(job)
    assert fleet.queue.waiting(versions=["1"]) == []
    assert not fleet.queue.is_live(job.workflow_id)


def test_taking_out_what_is_not_there_does_nothing(fleet: Fleet) -> None:
    job = fleet.store.get(fleet.job(enqueue=False))
    fleet.queue.cancel(job)
    assert not fleet.queue.is_live(job.workflow_id)


def test_a_workflow_names_its_job_and_attempt() -> None:
    workflow = QueuedWorkflow("20260101-000000-0000000001.12", "1", "somebody")
    assert (workflow.job_id, workflow.attempt) == ("20260101-000000-0000000001", 12)


def test_what_was_left_out_is_swept_in_when_it_is_old_enough(fleet: Fleet) -> None:
    left = fleet.job(enqueue=False)
    fleet.job()
    assert sweep(fleet.store, fleet.queue, older_than=60) == 0
    assert sweep(fleet.store, fleet.queue, older_than=-1) == 1
    assert sweep(fleet.store, fleet.queue, older_than=-1) == 0
    assert fleet.queue.is_live(f"{left}.1")


def test_old_jobs_are_forgotten_in_the_queue_too(fleet: Fleet) -> None:
    old = fleet.store.get(fleet.job())
    waits = fleet.store.get(fleet.job())
    fleet.queue.cancel(old)
    later = JobQueue(fleet.database, clock=Later())
    assert expire(fleet.store, fleet.queue, 30) == 0
    assert later.forget(30) == 1
    assert later.forget(30) == 0
    assert fleet.queue.is_live(waits.workflow_id)
    later.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_queue_that_is_away_says_so_without_the_password(fleet: Fleet, postgres) -> None:
    job = fleet.store.get(fleet.job())
    postgres.stop(crash=True)
    try:
        with pytest.raises(StorageError) as caught:
            fleet.queue.enqueue(job)
    finally:
        postgres.start()
    assert caught.value.code == "unavailable"
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    fleet.queue.enqueue(job)
    assert fleet.queue.is_live(job.workflow_id)


def test_what_the_queue_refuses_is_an_error_of_the_storage(fleet: Fleet) -> None:
    with pytest.raises(StorageError, match=r"nobody\.1"):
        fleet.queue.put_back("nobody.1")


def test_a_closed_queue_opens_itself_again(fleet: Fleet) -> None:
    job = fleet.store.get(fleet.job())
    fleet.queue.close()
    fleet.queue.close()
    assert fleet.queue.is_live(job.workflow_id)


def test_a_stop_prints_nothing_of_the_engines_inside() -> None:
    words = "Asyncio task cancelled for workflow or step"
    assert words in inspect.getsource(_outcome), "it says it in other words now"
    logger = logging.getLogger("dbos")
    before = list(logger.filters)
    quiet()
    quiet()
    assert len(logger.filters) <= len(before) + 1
    said: list[str] = []
    keeps = logging.Handler()
    keeps.emit = lambda record: said.append(record.getMessage())
    logger.addHandler(keeps)
    try:
        logger.warning("Asyncio task cancelled for workflow or step functools.partial(<function …>)")
        logger.warning("Something else.")
    finally:
        logger.removeHandler(keeps)
        logger.filters = before
    assert said == ["Something else."]
