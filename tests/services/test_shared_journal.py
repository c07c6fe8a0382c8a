"""Use cases on the journal of a service's database: the cache, the doctor, metered models of a job."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from postgres import PASSWORD
from skill_fleet.config.load import DATABASE_URL
from skill_fleet.foundation.errors import BudgetExhausted, DataError, LeaseLost, StorageError
from skill_fleet.jobs.database import open_database, prepare_database
from skill_fleet.jobs.records import Lease, NewJob
from skill_fleet.jobs.store import JobStore
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.journal.database_tables import VERSION
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.services.cache import cache_paths, cache_stats, clear_cache
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.doctor import examine
from skill_fleet.services.metered import metered

JOB = "20270101-000000-0123456789"


@pytest.fixture
def jobs(workspace: Path, postgres_url: str) -> Iterator[JobStore]:
    context = open_context(workspace, environ={})
    with closing(open_database(context.workspace, postgres_url)) as database:
        prepare_database(database, queue=False)
        yield JobStore(database)


@pytest.fixture
def context(workspace: Path, postgres_url: str) -> Context:
    return open_context(workspace, environ={DATABASE_URL: postgres_url})


def paid(context: Context, run: str = "run") -> None:
    with closing(open_journal(context.loaded)) as journal:
        attempt = journal.open_attempt(run, "k", "evaluation", "m")
        journal.settle(attempt, "k", "m", '"x"', Usage(1, 1, 0.5))


def test_the_cache_is_that_of_the_database(context: Context, jobs: JobStore, workspace: Path) -> None:
    paid(context)
    assert cache_stats(context)["stats"] == {"responses": 1, "bytes": 3, "attempts": 1}
    place = cache_paths(context)["responses"]
    assert place == cache_paths(context)["ledger"]
    assert place.startswith("PostgreSQL 127.0.0.1:")
    assert PASSWORD not in place
    assert clear_cache(context, force=False)["removed"] == 1
    assert cache_stats(context)["stats"] == {"responses": 0, "bytes": 0, "attempts": 1}
    assert not (workspace / ".skill-fleet" / "ledger.sqlite").exists()


def test_answers_that_a_job_somewhere_needs_are_kept(context: Context, jobs: JobStore) -> None:
    paid(context)
    jobs.create(NewJob(JOB, "optimization", {}))
    assert cache_stats(context)["needed_by"] == [JOB]
    with pytest.raises(DataError, match=JOB):
        clear_cache(context, force=False)
    assert clear_cache(context, force=True)["removed"] == 1
    jobs.want(JOB, "cancelled", None)
    assert cache_stats(context)["needed_by"] == [], "it is over"


def test_the_doctor_looks_at_it(
    context: Context, jobs: JobStore, workspace: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid(context)
    monkeypatch.setenv(DATABASE_URL, postgres_url)
    (found,) = [check for check in examine(workspace) if check.name == "journal"]
    assert found.status == "ok"
    assert found.message.endswith(": 1 attempts, 1 answers.")
    monkeypatch.setenv(DATABASE_URL, f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/x")
    (found,) = [check for check in examine(workspace) if check.name == "journal"]
    assert found.status == "error"
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    ("found", "status", "todo"), [("9999", "error", "Upgrade"), ("0000", "warning", "skill-fleet serve")]
)
def test_the_doctor_tells_older_tables_from_newer_ones(
    jobs: JobStore,
    workspace: Path,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    found: str,
    status: str,
    todo: str,
) -> None:
    jobs.database.write(lambda db: db.execute(VERSION.update().values(version_num=found)))
    monkeypatch.setenv(DATABASE_URL, postgres_url)
    (check,) = [check for check in examine(workspace) if check.name == "database"]
    assert (check.status, todo in check.hint) == (status, True)
    assert found in check.message
    context = open_context(workspace)
    for use in (lambda: open_journal(context.loaded), lambda: cache_stats(context)):
        with pytest.raises(StorageError, match=found):
            use()


@pytest.mark.parametrize("where", ["files", "database"])
def test_what_earlier_processes_of_a_job_spent_counts_against_its_caps(
    where: str, context: Context, jobs: JobStore, workspace: Path
) -> None:
    """A creation job that is taken up again has its caps once, not once for each taking-up."""
    if where == "files":
        context = open_context(workspace, environ={})
    for fence, prompts in ((1, ["a", "b"]), (2, ["c"])):
        if where == "database":
            take_up(jobs)
        job = replace(context, lease=Lease(JOB, fence, "w"))
        ask(job, *prompts)
    with pytest.raises(BudgetExhausted, match="cap of 3 calls"):
        ask(job, "a", "d")
    with closing(open_journal(context.loaded)) as journal:
        assert journal.spent(JOB).calls == 3


def test_a_job_that_was_taken_up_elsewhere_asks_no_model(context: Context, jobs: JobStore) -> None:
    take_up(jobs)
    job = replace(context, lease=Lease(JOB, 1, "w"))
    with pytest.raises(LeaseLost):
        ask(job, "a", "b", before_last=lambda: take_up(jobs))
    with pytest.raises(LeaseLost), metered(job, "create"):
        pass
    with closing(open_journal(context.loaded)) as journal:
        assert (journal.spent(JOB).calls, journal.spent(JOB).settled) == (1, 1)


def ask(job: Context, *prompts: str, before_last: Callable[[], None] = lambda: None) -> None:
    with metered(job, "create", limits=Limits(calls=3)) as model:
        for prompt in prompts[:-1]:
            model.lm(prompt)
        before_last()
        model.lm(prompts[-1])


def take_up(jobs: JobStore) -> None:
    with jobs.database.engine.begin() as db:
        db.exec_driver_sql(
            f"insert into skill_fleet.lease values ('{JOB}', 1, 'w', 0)"  # noqa: S608
            " on conflict (job_id) do update set fence = lease.fence + 1"
        )
