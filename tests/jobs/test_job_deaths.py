"""Jobs whose holders die: a job that takes its workers along has failed after some of them."""

import pytest
from store_help import queued, taken

from skill_fleet.jobs.database import Database
from skill_fleet.jobs.holding import DEATHS
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.store import JobStore

ERROR = {"code": "crashed", "message": "It died.", "hint": ""}


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


def test_a_job_whose_workers_die_again_and_again_has_failed(store: JobStore) -> None:
    job = queued(store)
    for death in range(DEATHS):
        taken(store, job, f"w{death}")
        assert store.get(job.job_id).crashes == death
    failed = store.claim(job.job_id, 1, "last")
    assert isinstance(failed, Job)
    assert (failed.status, failed.crashes) == ("failed", DEATHS)
    assert failed.error is not None
    assert failed.error["code"] == "crashed"
    assert f"The workers that ran job {job.job_id} died" in failed.error["message"]
    assert f"{DEATHS} times without its getting further" in failed.message
    [end] = [event for event in store.events(job.job_id) if event.kind == "status"]
    assert end.data["status"] == "failed"
    assert store.counts().failures == {"crashed": 1}


def test_progress_forgives(store: JobStore) -> None:
    job = queued(store)
    for death in range(1, 4 * DEATHS):
        lease = taken(store, job)
        if death % (DEATHS - 1) == 0:
            store.progress(lease, progress=death / 100)
    assert store.get(job.job_id).status == "running"


def test_a_crash_that_was_seen_counts_once_and_what_is_handed_back_not_at_all(store: JobStore) -> None:
    job = queued(store)
    assert store.crashed(taken(store, job), ERROR) == 1
    lease = taken(store, job)
    assert store.get(job.job_id).crashes == 1
    store.hand_back(lease)
    lease = taken(store, job)
    assert store.get(job.job_id).crashes == 1
    assert isinstance(lease, Lease)
    for number in (2, 3):
        assert store.crashed(lease, ERROR) == number
        lease = taken(store, job)
