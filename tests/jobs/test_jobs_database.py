"""A database that is not there, goes away, is full, is damaged: one sentence each, and never a password."""

import os
import sqlite3
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from store_help import new_job, queued, taken

from postgres import PASSWORD, running_postgres
from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import ConfigError, SkillFleetError, StorageError
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.key_store import KeyStore
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import LEASE
from skill_fleet.jobs.worker_store import WorkerStore


def everything_said(error: BaseException) -> str:
    shown = "".join(traceback.format_exception(error))
    return shown + repr(error) + str(getattr(error, "hint", ""))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{PASSWORD}@127.0.0.1:1/none",
        f"postgres://user:{PASSWORD}@127.0.0.1:1/none",
        f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:1/none",
    ],
)
def test_a_server_that_is_not_there_is_one_sentence_without_the_password(workspace: Path, url: str) -> None:
    database = open_database(Workspace.at(workspace, {}), url)
    assert PASSWORD not in repr(database) + database.place
    for ask in (
        lambda: prepare_database(database),
        lambda: JobStore(database).get("a"),
        lambda: JobStore(database).create(new_job("a")),
        lambda: KeyStore(database).find("sf_a_b"),
    ):
        with pytest.raises(StorageError) as raised:
            ask()
        assert raised.value.code == "unavailable"
        assert "127.0.0.1:1/none" in raised.value.message
        assert "\n" not in raised.value.message
        assert PASSWORD not in everything_said(raised.value)
    assert database.url is not None
    assert PASSWORD in database.url, "but the worker's children need it"
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PASSWORD}@host:{PASSWORD}/x",
        f"mysql://u:{PASSWORD}@host/x",
        f"{PASSWORD}",
        f"sqlite:///{PASSWORD}",
        f"postgresql://u:{PASSWORD}@[::1/x",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(workspace: Path, url: str) -> None:
    with pytest.raises(SkillFleetError) as raised:
        open_database(Workspace.at(workspace, {}), url).read(lambda db: db.execute(sa.text("select 1")))
    assert PASSWORD not in everything_said(raised.value)
    assert isinstance(raised.value, ConfigError)


def test_a_database_without_tables_says_who_makes_them(empty_url: str | None, workspace: Path) -> None:
    database = open_database(Workspace.at(workspace, {}), empty_url)
    for ask in (lambda: JobStore(database).get("a"), lambda: JobStore(database).page()):
        with pytest.raises(StorageError, match="table") as raised:
            ask()
        assert "skill-fleet serve" in raised.value.hint
    database.close()


def test_a_folder_that_cannot_be_made_is_one_sentence(workspace: Path) -> None:
    (workspace / ".skill-fleet").write_text("a file is in the way")
    with pytest.raises(StorageError, match="cannot be made"):
        open_database(Workspace.at(workspace, {}), None)


@pytest.fixture
def embedded(workspace: Path) -> Database:
    database = open_database(Workspace.at(workspace, {}), None)
    prepare_database(database, queue=False)
    return database


def file_of(database: Database) -> Path:
    assert database.folder is not None
    return database.folder / "jobs.sqlite"


def test_a_damaged_file_is_one_sentence(embedded: Database, workspace: Path) -> None:
    queued(JobStore(embedded), "a")
    embedded.close()
    for rest in file_of(embedded).parent.glob("jobs.sqlite-*"):
        rest.unlink()
    file_of(embedded).write_bytes(b"this is no database" * 1000)
    again = open_database(Workspace.at(workspace, {}), None)
    for ask in (
        lambda: prepare_database(again),
        lambda: JobStore(again).get("a"),
        lambda: JobStore(again).create(new_job("b")),
    ):
        with pytest.raises(StorageError, match="not a database") as raised:
            ask()
        assert "damaged" in raised.value.hint
    again.close()


def test_a_file_that_is_not_ours_to_write_is_one_sentence(embedded: Database) -> None:
    store = JobStore(embedded)
    queued(store, "a")
    read_only(embedded)
    with pytest.raises(StorageError, match="readonly") as raised:
        queued(store, "b")
    assert "rights" in raised.value.hint
    assert store.get("a").status == "queued"
    embedded.close()


def test_a_full_disk_is_one_sentence_and_loses_nothing(embedded: Database) -> None:
    store = JobStore(embedded)
    queued(store, "a")
    no_room(embedded)
    with pytest.raises(StorageError, match="full") as raised:
        queued(store, "b", request={"x": "y" * 10**6})
    assert "disk space" in raised.value.hint
    assert [job.job_id for job in store.page()] == ["a"]
    embedded.close()


def read_only(database: Database) -> None:
    """As the file's rights would have it; root may write everything."""

    def refuse(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("pragma query_only=on")

    sa.event.listen(database.engine, "checkout", refuse)


def no_room(database: Database) -> None:
    def limit(connection: sqlite3.Connection, *_: object) -> None:
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count={pages + 2}")

    sa.event.listen(database.engine, "checkout", limit)


def test_the_embedded_files_are_write_ahead(embedded: Database) -> None:
    assert embedded.read(lambda db: db.exec_driver_sql("pragma journal_mode").scalar()) == "wal"
    assert embedded.read(lambda db: db.exec_driver_sql("pragma busy_timeout").scalar()) == 30_000
    assert embedded.read(lambda db: db.exec_driver_sql("pragma foreign_keys").scalar()) == 1
    embedded.close()


def test_readers_do_not_wait_for_a_writer(embedded: Database) -> None:
    store = JobStore(embedded)
    queued(store, "a")
    inside, done = threading.Event(), threading.Event()

    def write(db: sa.Connection) -> None:
        db.execute(sa.text("update job set message = 'x'"))
        inside.set()
        assert done.wait(60)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(embedded.write, write)
        assert inside.wait(60)
        assert store.get("a").message == ""
        assert [job.message for job in store.page()] == [""]
        done.set()
        writing.result(60)
    assert store.get("a").message == "x"
    embedded.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail(db: sa.Connection) -> None:
        db.execute(sa.delete(LEASE))
        raise RuntimeError

    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    with pytest.raises(RuntimeError):
        database.write(fail)
    assert store.progress(lease, message="still held") is None
    assert store.get("a").message == "still held"


def test_connections_that_the_server_ended_are_replaced(postgres_url: str, workspace: Path) -> None:
    database = open_database(Workspace.at(workspace, {}), postgres_url)
    prepare_database(database, queue=False)
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    for ask in (lambda: store.get("a"), lambda: store.progress(lease, progress=0.5), store.page):
        with psycopg.connect(postgres_url, autocommit=True) as db:
            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        ask()
    assert store.get("a").progress == 0.5
    database.close()


def test_who_is_patient_waits_for_a_server_that_comes_back(workspace: Path) -> None:
    with running_postgres() as server:
        url = server.new_database()
        hasty = open_database(Workspace.at(workspace, {}), url)
        patient = open_database(Workspace.at(workspace, {}), url, patience_seconds=60.0)
        prepare_database(hasty, queue=False)
        lease = taken(JobStore(hasty), queued(JobStore(hasty), "a"))
        server.stop()
        with pytest.raises(StorageError) as raised:
            JobStore(hasty).get("a")
        assert raised.value.code == "unavailable"
        with ThreadPoolExecutor(2) as pool:
            written = pool.submit(JobStore(patient).progress, lease, progress=0.5)
            events = pool.submit(JobStore(patient).append, lease, [("x", {})])
            server.start()
            written.result(90)
            assert events.result(90) == 3
        assert JobStore(hasty).get("a").progress == 0.5, "and who is hasty goes on by itself"
        hasty.close()
        patient.close()


def test_a_deadlock_is_resolved_by_doing_one_again(postgres_url: str, workspace: Path) -> None:
    database = open_database(Workspace.at(workspace, {}), postgres_url)
    prepare_database(database, queue=False)
    store = JobStore(database)
    for name in ("a", "b"):
        queued(store, name)
    both = threading.Barrier(2, timeout=60)
    turns: list[str] = []

    def change_both(first: str, second: str) -> Callable[[sa.Connection], None]:
        def work(db: sa.Connection) -> None:
            turns.append(first)
            update = sa.text("update skill_fleet.job set progress = progress + 1 where job_id = :name")
            db.execute(update, {"name": first})
            if len(turns) <= 2:
                both.wait()
            db.execute(update, {"name": second})

        return work

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(database.write, (change_both("a", "b"), change_both("b", "a"))))
    assert len(turns) >= 3
    assert [store.get(name).progress for name in ("a", "b")] == [2.0, 2.0]
    database.close()


def test_the_databases_clock_is_one_for_all(open_again: Callable[..., Database]) -> None:
    first, second = WorkerStore(open_again()), WorkerStore(open_again())
    first.register("a", host="h", pid=os.getpid(), version="1")
    second.register("b", host="h", pid=os.getpid(), version="1")
    times = [worker.heartbeat_at for worker in first.list()]
    assert times == sorted(times)
