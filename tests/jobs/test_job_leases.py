"""Who holds a job may write for it; who lost it, nothing."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from store_help import queued, taken

from skill_fleet.foundation.errors import LeaseLost
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.records import Lease, Spending
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import LEASE, METADATA
from skill_fleet.llm.journal.database_tables import JOURNAL_TABLES

Write = Callable[[JobStore, FileStore, Lease], object]

WRITES: dict[str, Write] = {
    "progress": lambda store, _, lease: store.progress(lease, progress=0.9, message="from the dead"),
    "spending": lambda store, _, lease: store.progress(lease, spending=Spending(9, 9.0, 9)),
    "partial": lambda store, _, lease: store.progress(lease, partial={"from": "the dead"}),
    "wanted": lambda store, _, lease: store.progress(lease),
    "append": lambda store, _, lease: store.append(lease, [("x", {})]),
    "append nothing": lambda store, _, lease: store.append(lease, []),
    "save": lambda _, files, lease: files.save(lease, {"x": b"from the dead"}),
    "save nothing": lambda _, files, lease: files.save(lease, {}),
    "conclude": lambda store, _, lease: store.conclude(lease, "succeeded", result={"from": "the dead"}),
    "crashed": lambda store, _, lease: store.crashed(lease, {"code": "x"}),
    "hand_back": lambda store, _, lease: store.hand_back(lease),
}


def taken_over(store: JobStore, lease: Lease) -> None:
    taken(store, store.get(lease.job_id), "worker-2")


def ended(store: JobStore, lease: Lease) -> None:
    store.conclude(lease, "succeeded", result={"x": 1})


def handed_back(store: JobStore, lease: Lease) -> None:
    store.hand_back(lease)


def put_in_again(store: JobStore, lease: Lease) -> None:
    store.next_attempt(lease.job_id, 1)


def removed(store: JobStore, lease: Lease) -> None:
    store.conclude(lease, "succeeded")
    store.remove(lease.job_id, None)


def of_no_job(_: JobStore, __: Lease) -> None:
    """The lease is of a job that never was."""


@pytest.mark.parametrize("lose", [taken_over, ended, handed_back, put_in_again, removed, of_no_job])
def test_a_lease_that_is_lost_writes_nothing(
    database: Database, lose: Callable[[JobStore, Lease], None]
) -> None:
    store, files = JobStore(database), FileStore(database)
    lease = taken(store, queued(store, "a"))
    files.save(lease, {"x": b"1"})
    lose(store, lease)
    if lose is of_no_job:
        lease = Lease("never", 1, "w")
    before = everything(database)
    for name, write in WRITES.items():
        with pytest.raises(LeaseLost):
            write(store, files, lease)
        assert everything(database) == before, name


@pytest.mark.parametrize("write", [name for name in WRITES if name not in {"conclude", "hand_back"}])
def test_a_lease_that_is_held_writes(database: Database, write: str) -> None:
    store, files = JobStore(database), FileStore(database)
    lease = taken(store, queued(store, "a"))
    WRITES[write](store, files, lease)
    assert store.progress(lease) is None, "and is held afterwards"


def test_a_fence_of_the_future_is_no_lease(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    with pytest.raises(LeaseLost):
        store.append(Lease("a", lease.fence + 1, "w"), [("x", {})])


def test_the_journals_lease_is_there_exactly_while_somebody_holds_the_job(database: Database) -> None:
    store = JobStore(database)

    def lease_of(job_id: str) -> tuple[int, str] | None:
        statement = sa.select(LEASE.c.fence, LEASE.c.worker).where(LEASE.c.job_id == job_id)
        row = database.read(lambda db: db.execute(statement).first())
        return None if row is None else (row[0], row[1])

    job = queued(store, "a")
    assert lease_of("a") is None
    lease = taken(store, job, "w1")
    assert lease_of("a") == (1, "w1")
    store.crashed(lease, {"code": "x"})
    assert lease_of("a") is None
    lease = taken(store, job, "w2")
    assert lease_of("a") == (2, "w2")
    store.hand_back(lease)
    assert lease_of("a") is None
    lease = taken(store, job, "w3")
    store.next_attempt("a", 1)
    assert lease_of("a") is None
    lease = taken(store, store.get("a"), "w4")
    store.conclude(lease, "succeeded")
    assert lease_of("a") is None


def test_after_a_crash_its_worker_may_conclude(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    for times in (1, 2, 3):
        assert store.crashed(lease, {"code": "crashed"}) == times
    assert store.conclude(lease, "failed", error={"code": "crashed", "message": "m", "hint": ""}).crashes == 3


def test_progress_and_spending_never_fall(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.progress(lease, progress=0.6, spending=Spending(10, 1.0, 3))
    store.progress(lease, progress=0.2, spending=Spending(4, 0.5, 1))
    job = store.get("a")
    assert (job.progress, job.calls, job.usd) == (0.6, 10, 1.0)
    assert job.usd_unknown_calls == 1, "what was unknown may become known"
    store.progress(lease, progress=7.0)
    assert store.get("a").progress == 1.0
    store.progress(lease, progress=float("nan"))
    assert store.get("a").progress == 1.0


def test_telling_the_same_again_changes_nothing(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    told = {"progress": 0.5, "message": "half", "spending": Spending(1, 0.1, 0)}
    store.progress(lease, **told)
    before = store.get("a")
    store.progress(lease, **told)
    assert store.get("a") == before
    store.progress(lease, message="more")
    assert store.get("a").version == before.version + 1


def test_messages_of_any_kind_are_kept_readable(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.progress(lease, message="a\0b\ud800c ü")
    assert store.get("a").message == "a\ufffdb\ufffdc ü"
    store.progress(lease, message="x" * 100_000)
    assert len(store.get("a").message) == 2000


def everything(database: Database) -> list[object]:
    tables = [table for table in METADATA.sorted_tables if table not in JOURNAL_TABLES]
    return database.read(lambda db: [db.execute(sa.select(table)).all() for table in tables])
