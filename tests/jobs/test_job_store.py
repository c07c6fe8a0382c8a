"""Jobs written down, found and listed: on SQLite and on PostgreSQL."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_help import Processes, backdate, new_job, queued, taken

from skill_fleet.foundation.errors import (
    IdempotencyConflict,
    NotFound,
    Removed,
    StateConflict,
    StorageError,
)
from skill_fleet.jobs.audit import Audit
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.records import NewJob, Spending
from skill_fleet.jobs.store import Idempotency, JobStore
from skill_fleet.jobs.tables import API_KEY, AUDIT, JOB, database_now


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


def test_a_job_comes_back_as_it_was_written(store: JobStore) -> None:
    new = new_job(
        "j",
        kind="creation",
        request={"task": "a\0b \ud800 ü", "nested": [1, {"x": None}]},
        owner="key",
        provider="anthropic",
        priority=3,
        metadata={"who": "me"},
        max_usd=1.5,
        max_calls=10**30,
        max_tokens=10**40,
        max_minutes=2.5,
    )
    job, made = store.create(new)
    assert made
    assert job == store.get("j")
    assert (job.kind, job.status, job.owner, job.provider, job.priority) == (
        "creation", "queued", "key", "anthropic", 3,
    )  # fmt: skip
    assert store.request_of("j") == new.request
    assert job.metadata == {"who": "me"}
    assert (job.max_usd, job.max_calls) == (1.5, 2**63 - 1)
    assert (job.max_tokens, job.max_minutes) == (2**63 - 1, 2.5)
    assert abs(job.created_at - time.time()) < 600
    assert [(event.number, event.kind) for event in store.events("j")] == [(1, "queued")]


def test_numbers_that_json_does_not_have_become_null(store: JobStore) -> None:
    job, _ = store.create(new_job(request={"x": [float("nan"), float("inf"), 1.5]}))
    assert store.request_of(job.job_id) == {"x": [None, None, 1.5]}


@pytest.mark.parametrize(
    "name", ["nothing", "", "\0", "a\0", "\ud800", "'; drop table job; --", "ä" * 10_000]
)
def test_a_name_that_names_nothing_is_not_found(store: JobStore, name: str) -> None:
    with pytest.raises(NotFound):
        store.get(name)
    with pytest.raises(NotFound):
        store.want(name, "paused", None)
    with pytest.raises(NotFound):
        store.claim(name, 1, "w")
    assert store.events(name) == []


def test_the_same_key_and_request_are_the_same_job(store: JobStore) -> None:
    first, made = store.create(new_job("a"), idempotency=Idempotency("k", "d"))
    again, made_again = store.create(new_job("b"), idempotency=Idempotency("k", "d"))
    assert (made, made_again) == (True, False)
    assert again == first
    assert store.known(None, Idempotency("k", "d")) == first
    with pytest.raises(NotFound):
        store.get("b")


def test_the_same_key_with_another_request_conflicts_and_writes_nothing(store: JobStore) -> None:
    store.create(new_job("a"), idempotency=Idempotency("k", "d"))
    with pytest.raises(IdempotencyConflict, match="another request"):
        store.create(new_job("b"), idempotency=Idempotency("k", "other"))
    assert [job.job_id for job in store.page()] == ["a"]


def test_keys_are_each_owners_own(store: JobStore) -> None:
    for owner in (None, "x", "y"):
        _, made = store.create(new_job(f"of-{owner}", owner=owner), idempotency=Idempotency("k", "d"))
        assert made
    assert store.known("z", Idempotency("k", "d")) is None


def test_a_key_whose_job_was_removed_makes_no_second_one(store: JobStore) -> None:
    store.create(new_job("a"), idempotency=Idempotency("k", "d"))
    store.want("a", "cancelled", None)
    store.remove("a", None)
    with pytest.raises(Removed):
        store.create(new_job("b"), idempotency=Idempotency("k", "d"))
    assert store.page() == []


def test_a_job_that_fails_to_be_written_leaves_its_key_free(store: JobStore) -> None:
    def refuse(_: object) -> tuple[float, int]:
        raise StateConflict("Nothing is left.")

    with pytest.raises(StateConflict):
        store.create(new_job("a"), idempotency=Idempotency("k", "d"), admit=refuse)
    assert store.create(new_job("b"), idempotency=Idempotency("k", "d"))[1]


def test_sixteen_threads_with_one_key_make_one_job(store: JobStore) -> None:
    def create(number: int) -> tuple[str, bool]:
        job, made = store.create(new_job(f"j{number}"), idempotency=Idempotency("k", "d"))
        return job.job_id, made

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(create, range(48)))
    assert sum(made for _, made in answers) == 1
    assert len({name for name, _ in answers}) == 1
    assert len(store.page()) == 1


def test_two_processes_with_one_key_make_one_job(
    database: Database, workspace: Path, processes: Processes
) -> None:
    answers = processes.at_once(database, workspace, [{"do": "create", "name": name} for name in ("a", "b")])
    jobs = [tuple(answer) for process in answers for answer in process]
    assert len({name for name, _ in jobs}) == 1
    assert sum(made for _, made in jobs) == 1


def test_the_same_name_twice_is_refused(store: JobStore) -> None:
    queued(store, "a")
    with pytest.raises(Exception, match="a"):
        queued(store, "a")


def test_pages_are_newest_first_and_meet_without_gap_while_jobs_are_added(store: JobStore) -> None:
    names = [queued(store, f"j{number:02}").job_id for number in range(25)]
    seen = []
    before = None
    while page := store.page(before=before, limit=4):
        seen += [job.job_id for job in page]
        before = (page[-1].created_at, page[-1].job_id)
        queued(store, f"new{len(seen):02}")
    assert seen == names[::-1]


def test_jobs_of_one_moment_are_told_apart_by_name(store: JobStore, database: Database) -> None:
    for number in range(9):
        queued(store, f"j{number}")
        backdate(database, f"j{number}", created_at=1000.0)
    first = store.page(limit=5)
    rest = store.page(limit=9, before=(first[-1].created_at, first[-1].job_id))
    assert [job.job_id for job in first + rest] == [f"j{number}" for number in range(8, -1, -1)]


def test_pages_by_owner_status_and_kind(store: JobStore) -> None:
    queued(store, "a", owner="x")
    queued(store, "b", owner="y", kind="creation")
    queued(store, "c")
    store.want("a", "paused", None)
    assert [job.job_id for job in store.page()] == ["c", "b", "a"]
    assert [job.job_id for job in store.page(owner="x")] == ["a"]
    assert [job.job_id for job in store.page(owner=None)] == ["c"]
    assert [job.job_id for job in store.page(kind="creation")] == ["b"]
    assert [job.job_id for job in store.page(statuses=("paused", "failed"))] == ["a"]
    assert store.page(owner="x", statuses=("queued",)) == []


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[tuple[str, Any]]]:
    """What a database is asked meanwhile: statements and their parameters."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _r: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    yield asked
    sa.event.remove(engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any) -> str:
    explain = "explain query plan" if database.is_sqlite else "explain"
    asked = database.read(lambda db: db.exec_driver_sql(f"{explain} {statement}", parameters).all())
    return "\n".join(str(tuple(row)) for row in asked)


def ten_thousand_more(database: Database, like: dict[str, Any]) -> None:
    template = like | {"request": "{}", "metadata": "{}", "events": 0}
    rows = [template | {"job_id": f"j{number:05}", "created_at": float(number)} for number in range(10_000)]
    database.write(lambda db: db.execute(JOB.insert(), rows))
    if not database.is_sqlite:
        database.write(lambda db: db.execute(sa.text("analyze skill_fleet.job")))


@pytest.mark.parametrize("options", [{}, {"owner": None, "statuses": ("queued",), "kind": "optimization"}])
def test_a_page_of_ten_thousand_reads_along_an_index_and_sorts_nothing(
    store: JobStore, database: Database, options: dict[str, Any]
) -> None:
    ten_thousand_more(database, dict(queued(store, "first").__dict__))
    with statements(database.engine) as asked:
        page = store.page(before=(5000.0, "j05000"), limit=20, **options)
    assert [job.job_id for job in page] == [f"j{number:05}" for number in range(4999, 4979, -1)]
    ((statement, parameters),) = [one for one in asked if one[0].startswith("SELECT")]
    found = plan(database, statement, parameters)
    assert "job_newest" in found, found
    assert not re.search(r"Sort|TEMP B-TREE|Seq Scan", found), found


def test_one_job_of_ten_thousand_is_found_by_its_key(store: JobStore, database: Database) -> None:
    def quickest() -> float:
        took = []
        for _ in range(300):
            begin = time.perf_counter()
            store.get("a")
            took.append(time.perf_counter() - begin)
        return min(took)

    queued(store, "a", request={"seed": 1})
    alone = quickest()
    ten_thousand_more(database, dict(store.get("a").__dict__))
    if database.is_sqlite:  # which is asked without SQLAlchemy: nobody tells the statement
        assert quickest() < 5 * alone, "to look through them all takes forty times as long"
        return
    with statements(database.engine) as asked:
        store.get("a")
    ((statement, parameters),) = [one for one in asked if one[0].startswith("SELECT")]
    found = plan(database, statement, parameters)
    assert "Index Scan using job_pkey" in found, found


def test_jobs_the_queue_does_not_know_are_found(store: JobStore, database: Database) -> None:
    for name in ("a", "b", "c"):
        queued(store, name)
    store.enqueued("b", 1)
    store.enqueued("c", 2)  # of an attempt that there is not
    assert store.left_behind(60.0) == []
    for name in ("a", "b", "c"):
        backdate(database, name, updated_at=1000.0)
    assert [job.job_id for job in store.left_behind(60.0)] == ["a", "c"]
    assert [job.job_id for job in store.left_behind(60.0, limit=1)] == ["a"]
    store.want("a", "cancelled", None)
    assert [job.job_id for job in store.left_behind(60.0)] == ["c"]


def test_a_resumed_job_is_unknown_to_the_queue_again(store: JobStore, database: Database) -> None:
    queued(store, "a")
    store.enqueued("a", 1)
    store.want("a", "paused", None)
    assert store.requeue("a", None).attempt == 2
    backdate(database, "a", updated_at=1000.0)
    assert [job.workflow_id for job in store.left_behind(1.0)] == ["a.2"]


def test_what_is_removed_is_gone_but_its_name_and_its_cost(store: JobStore, database: Database) -> None:
    job = queued(store, "a", owner="me", metadata={"x": 1}, request={"secret": "of the client"})
    lease = taken(store, job)
    FileStore(database).save(lease, {"data.json": b"of the client"})
    store.append(lease, [("note", {"x": "of the client"})])
    store.conclude(
        lease, "failed", result={"x": "of the client"}, error={"code": "c"}, message="of the client"
    )
    store.remove("a", "me")
    with pytest.raises(Removed) as raised:
        store.get("a")
    assert raised.value.owner == "me"
    assert "of the client" not in raised.value.message
    assert store.events("a") == []
    assert FileStore(database).load("a") == {}
    assert store.page() == []
    for verb in (
        lambda: store.want("a", "cancelled", None),
        lambda: store.requeue("a", None),
        lambda: store.remove("a", None),
        lambda: store.note("a", "x", {}),
        lambda: store.claim("a", 1, "w"),
    ):
        with pytest.raises(Removed):
            verb()
    assert b"of the client" not in _everything(database)


def test_only_old_jobs_that_are_over_expire(store: JobStore, database: Database) -> None:
    for name in ("new", "old", "running", "paused"):
        queued(store, name)
    taken(store, store.get("running"))
    store.want("paused", "paused", None)
    for name in ("new", "old"):
        store.want(name, "cancelled", None)
    store.create(new_job("keyed"), idempotency=Idempotency("k", "d"))
    store.want("keyed", "cancelled", None)
    now = store.get("new").created_at
    for name in ("old", "running", "paused", "keyed"):
        backdate(database, name, created_at=now - 1e7, updated_at=now - 1e7)
    for name in ("old", "keyed"):
        backdate(database, name, finished_at=now - 91 * 86_400)
    audit = Audit(database)
    audit.write(None, "old")
    database.write(lambda db: db.execute(sa.update(AUDIT).values(at=AUDIT.c.at - 91 * 86_400)))
    audit.write(None, "young")
    assert store.expire(90) == 2
    assert store.expire(90) == 0
    assert sorted(job.job_id for job in store.page()) == ["new", "paused", "running"]
    assert [line.action for line in audit.list()] == ["young"]
    # Its idempotency key is free again.
    assert store.create(new_job("again"), idempotency=Idempotency("k", "other"))[1]


def _everything(database: Database) -> bytes:
    """Whatever is in the rows of the tables of jobs."""
    from skill_fleet.jobs.tables import JOB_EVENT, JOB_FILE

    tables = (JOB, JOB_EVENT, JOB_FILE)
    return database.read(lambda db: repr([db.execute(sa.select(table)).all() for table in tables]).encode())


def test_the_store_is_shared_by_threads(open_again: Callable[..., Database], database: Database) -> None:
    store, other = JobStore(database), JobStore(open_again())

    def create_and_read(number: int) -> str:
        made, _ = (store, other)[number % 2].create(NewJob(f"j{number}", "creation", {}))
        return (other, store)[number % 2].get(made.job_id).job_id

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(create_and_read, range(64))) == [f"j{number}" for number in range(64)]


def test_only_the_work_itself_reads_what_it_was_given(database: Database) -> None:
    store = JobStore(database)
    job = queued(store, "a", request={"trainset": ["x" * 1000] * 1000})
    assert len(store.request_of("a")["trainset"]) == 1000
    schema = "" if database.is_sqlite else "skill_fleet."
    database.write(lambda db: db.exec_driver_sql(f"alter table {schema}job_request rename to out_of_reach"))
    with pytest.raises(StorageError):
        store.request_of("a")
    lease = taken(store, job)
    store.progress(lease, progress=0.5, message="half", spending=Spending(1, 0.1, 0))
    store.append(lease, [("step", {})])
    assert [one.progress for one in store.page()] == [store.get("a").progress] == [0.5]
    assert store.left_behind(-1) == store.waiting(-1) == []
    store.want("a", "paused", None)
    assert store.conclude(lease, "paused").status == "paused"
    assert store.requeue("a", None).status == "queued"


def test_a_result_is_read_where_it_is_asked_for(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.progress(lease, partial={"simulated": True, "best": 1})
    assert (store.get("a").simulated, store.page()[0].simulated) == (True, True)
    backdate(database, "a", result="no JSON")
    assert not hasattr(store.page()[0], "result")
    store.progress(lease, progress=0.5)
    job = store.get("a")
    assert job.progress == 0.5
    with pytest.raises(ValueError, match="Expecting value"):
        _ = job.result


def test_what_a_removed_job_was_given_is_gone(store: JobStore) -> None:
    queued(store, "a")
    store.want("a", "cancelled", None)
    assert store.request_of("a") == {"seed": 1}
    store.remove("a", None)
    for name in ("a", "never", "\0"):
        with pytest.raises(NotFound):
            store.request_of(name)


def test_an_owner_has_only_so_many_unfinished_jobs(database: Database) -> None:
    row = {"key_id": "k", "name": "", "scopes": "run", "secret_sha256": "", "created_at": database_now()}
    database.write(lambda db: db.execute(API_KEY.insert().values(row)))
    store = JobStore(database)

    def start(number: int) -> bool | str:
        try:
            return store.create(new_job(f"j{number}", owner="k"), at_most=3)[1]
        except StateConflict as error:
            return error.code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(start, range(12))) == {True: 3, "too_many_jobs": 9}
    made = [job.job_id for job in store.page(owner="k")]
    store.want(made[0], "paused", None)
    assert start(20) == "too_many_jobs"
    assert store.create(new_job("other", owner="x"), at_most=1)[1]
    store.want(made[0], "cancelled", None)
    same = Idempotency("same", "digest")
    assert store.create(new_job("j21", owner="k"), idempotency=same, at_most=3)[1]
    # What came before comes back, however many there are.
    assert store.create(new_job("j22", owner="k"), idempotency=same, at_most=3)[0].job_id == "j21"
    assert start(23) == "too_many_jobs"
