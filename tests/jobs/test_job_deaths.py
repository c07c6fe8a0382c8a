"""Jobs whose holders die: apart from crashes of their own, which are few until a job has failed."""

import pytest
import sqlalchemy as sa
from store_help import queued, taken, taken_back

from skill_fleet.jobs import migrate
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.holding import DEATHS
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.workflow import CRASHES

ERROR = {"code": "crashed", "message": "It died.", "hint": ""}


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


def test_a_machine_that_is_restarted_often_is_no_crash_of_the_job(store: JobStore) -> None:
    job = queued(store)
    for death in range(3 * CRASHES):
        taken(store, job, f"w{death}")
    now = store.get(job.job_id)
    assert (now.status, now.crashes, now.deaths) == ("running", 0, 3 * CRASHES - 1)


def test_a_death_between_crashes_neither_adds_to_them_nor_forgives_them(store: JobStore) -> None:
    job = queued(store)
    assert store.crashed(taken(store, job), ERROR) == 1
    taken(store, job)
    assert store.crashed(taken(store, job), ERROR) == 2
    now = store.get(job.job_id)
    assert (now.crashes, now.deaths) == (2, 1)


def test_events_say_whose_death_it_was(store: JobStore) -> None:
    job = queued(store)
    taken(store, job, "first")
    store.crashed(taken(store, job, "second"), ERROR)
    store.cut_off(taken(store, job, "third"), ERROR)
    taken(store, job, "fourth")
    said = [(event.kind, dict(event.data)) for event in store.events(job.job_id)]
    kinds = [kind for kind, _ in said]
    assert kinds == [
        "queued", "taken_up", "worker_died", "taken_up", "crashed", "taken_up", "interrupted_from_outside",
        "taken_up",
    ]  # fmt: skip
    assert said[2] == ("worker_died", {"worker": "first", "deaths": 1})
    assert said[4] == ("crashed", {"error": ERROR, "crashes": 1})
    assert said[6] == ("interrupted_from_outside", {"error": ERROR, "deaths": 2})


def test_a_job_whose_workers_die_without_end_has_failed(store: JobStore) -> None:
    job = queued(store)
    store.crashed(taken(store, job), ERROR)
    for death in range(DEATHS):
        taken(store, job, f"w{death}")
        assert store.get(job.job_id).deaths == death
    failed = store.claim(job.job_id, 1, "last")
    assert isinstance(failed, Job)
    assert (failed.status, failed.deaths, failed.crashes) == ("failed", DEATHS, 1)
    assert failed.error is not None
    assert failed.error["code"] == "ended_from_outside"
    assert f"{DEATHS} times without its getting further; by itself it crashed once." in failed.message
    assert failed.message == failed.error["message"]
    [end] = [event for event in store.events(job.job_id) if event.kind == "status"]
    assert end.data["status"] == "failed"
    assert store.counts().failures == {"ended_from_outside": 1}


def test_progress_forgives(store: JobStore) -> None:
    job = queued(store)
    for death in range(1, 4 * DEATHS):
        lease = taken(store, job)
        if death % (DEATHS - 1) == 0:
            store.progress(lease, progress=death / 100)
    assert store.get(job.job_id).status == "running"


def test_a_job_that_is_gone_on_with_begins_anew(store: JobStore) -> None:
    job = queued(store)
    taken(store, job)
    lease = taken(store, job)
    store.conclude(lease, "stopped", error=ERROR)
    assert store.get(job.job_id).deaths == 1
    assert store.requeue(job.job_id, None).deaths == 0


def test_a_crash_that_was_seen_counts_once_and_what_is_handed_back_not_at_all(store: JobStore) -> None:
    job = queued(store)
    assert store.crashed(taken(store, job), ERROR) == 1
    lease = taken(store, job)
    assert store.get(job.job_id).crashes == 1
    store.hand_back(lease)
    lease = taken(store, job)
    assert isinstance(lease, Lease)
    for number in (2, 3):
        assert store.crashed(lease, ERROR) == number
        lease = taken(store, job)
    now = store.get(job.job_id)
    assert (now.crashes, now.deaths) == (3, 0)


def test_jobs_of_before_begin_anew_for_what_was_counted_may_be_either(store: JobStore) -> None:
    going = queued(store)
    store.crashed(taken(store, going), ERROR)
    failed = queued(store, "over")
    lease = taken(store, failed)
    store.crashed(lease, ERROR)
    store.conclude(taken(store, failed), "failed", error=ERROR)
    untouched = queued(store, "untouched")
    database = store.database
    taken_back(database, "0002")
    before = row_versions(store)
    migrate.upgrade(database)
    assert [store.get(job.job_id).crashes for job in (going, failed, untouched)] == [0, 1, 0]
    assert [store.get(job.job_id).deaths for job in (going, failed, untouched)] == [0, 0, 0]
    assert {name for name, version in row_versions(store).items() if version != before[name]} <= {
        going.job_id
    }, "jobs that are not changed are not written"


def row_versions(store: JobStore) -> dict[str, str]:
    """Where PostgreSQL keeps each job's row, which every write changes; SQLite does not tell."""
    if store.database.is_sqlite:
        return {}
    text = sa.text("select job_id, xmin::text from skill_fleet.job")
    return {name: str(version) for name, version in store.database.read(lambda db: db.execute(text).all())}
