"""Answers of jobs that were removed: counted apart, and cleared where nobody else has paid for them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from skill_fleet.config.load import DATABASE_URL
from skill_fleet.foundation.errors import DataError
from skill_fleet.jobs.database import open_database, prepare_database
from skill_fleet.jobs.records import Job, Lease, NewJob
from skill_fleet.jobs.store import JobStore
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.services.cache import cache_stats, clear_cache
from skill_fleet.services.context import Context, open_context

GONE, OLD, KEPT = "20270101-000000-gone", "20270101-000000-old", "20270101-000000-kept"


@pytest.fixture(params=["sqlite", "postgresql"])
def context(workspace: Path, request: pytest.FixtureRequest) -> Context:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return open_context(workspace, environ={} if url is None else {DATABASE_URL: url})


@pytest.fixture
def jobs(context: Context) -> Iterator[JobStore]:
    with closing(open_database(context.workspace, context.loaded.database)) as database:
        prepare_database(database, queue=False)
        yield JobStore(database)


def over(jobs: JobStore, name: str) -> Job:
    job, _ = jobs.create(NewJob(name, "optimization", {}))
    return jobs.want(job.job_id, "cancelled", None)


def pay(context: Context, run: str, *keys: str) -> None:
    with closing(open_journal(context.loaded)) as journal:
        for key in keys:
            journal.settle(
                journal.open_attempt(run, key, "evaluation", "m"), key, "m", '"x"', Usage(1, 1, 0.5)
            )


def left(context: Context, *keys: str) -> str:
    with closing(open_journal(context.loaded)) as journal:
        return "".join(key for key in keys if journal.lookup(key) is not None)


def test_only_what_nobody_else_has_paid_for_goes(context: Context, jobs: JobStore) -> None:
    for name in (GONE, OLD, KEPT):
        over(jobs, name)
    pay(context, GONE, "a", "b", "c")
    pay(context, OLD, "c", "d")
    pay(context, KEPT, "b", "e")
    pay(context, "evaluate-1", "d", "f")
    assert cache_stats(context)["of_removed_jobs"] == {"responses": 0, "bytes": 0}
    assert clear_cache(context, force=False, removed_jobs=True)["removed"] == 0
    jobs.remove(GONE, None)
    assert cache_stats(context)["of_removed_jobs"] == {"responses": 1, "bytes": 3}
    jobs.remove(OLD, None)
    found = cache_stats(context)
    assert found["of_removed_jobs"] == {"responses": 2, "bytes": 6}
    assert found["stats"]["responses"] == 6
    assert clear_cache(context, force=False, removed_jobs=True)["removed"] == 2
    assert left(context, *"abcdef") == "bdef"
    assert cache_stats(context)["stats"] == {"responses": 4, "bytes": 12, "attempts": 9}
    assert cache_stats(context)["of_removed_jobs"] == {"responses": 0, "bytes": 0}
    assert clear_cache(context, force=False)["removed"] == 4


def test_jobs_that_were_let_go_by_time_are_removed_ones(context: Context, jobs: JobStore) -> None:
    over(jobs, OLD)
    pay(context, OLD, "a")
    assert jobs.expire(-1) == 1
    assert cache_stats(context)["of_removed_jobs"]["responses"] == 1
    assert clear_cache(context, force=False, removed_jobs=True)["removed"] == 1


def unfinished(jobs: JobStore, status: str) -> Job:
    job, _ = jobs.create(NewJob(KEPT, "optimization", {}))
    if status != "queued":
        lease = jobs.claim(job.job_id, job.attempt, "worker")
        assert isinstance(lease, Lease)
        if status != "running":
            jobs.conclude(lease, "paused" if status == "paused" else "stopped")
    found = jobs.get(job.job_id)
    assert found.status == status
    return found


@pytest.mark.parametrize("status", ["queued", "running", "paused", "stopped"])
def test_while_a_job_is_unfinished_everything_stays(context: Context, jobs: JobStore, status: str) -> None:
    over(jobs, GONE)
    pay(context, GONE, "a")
    jobs.remove(GONE, None)
    waiting = unfinished(jobs, status)
    assert cache_stats(context)["needed_by"] == [waiting.job_id]
    for removed_jobs in (True, False):
        with pytest.raises(DataError, match=f"unfinished run {KEPT} needs the stored answers"):
            clear_cache(context, force=False, removed_jobs=removed_jobs)
    assert left(context, "a") == "a"
    assert clear_cache(context, force=True, removed_jobs=True)["removed"] == 1


def test_a_removed_job_costs_nothing_when_it_is_asked_for_again(context: Context, jobs: JobStore) -> None:
    over(jobs, GONE)
    pay(context, GONE, "a")
    jobs.remove(GONE, None)
    assert left(context, "a") == "a"
