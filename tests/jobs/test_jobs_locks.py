"""Locks of PostgreSQL that somebody else holds: who waits is told; a migration waits as long as it takes."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from store_help import queued, taken, taken_back

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs import migrate
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.store import JobStore

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
LOCK_SECONDS = 0.2


@pytest.fixture
def impatient(database_url: str, workspace: Path) -> Iterator[Database]:
    """The database, opened by who waits for a lock for less than the usual 15 seconds."""
    short = f"{database_url}?options=-c%20lock_timeout%3D{int(LOCK_SECONDS * 1000)}"
    database = open_database(Workspace.at(workspace, {}), short)
    yield database
    database.close()


@contextlib.contextmanager
def locked(url: str, statement: str) -> Iterator[None]:
    """Somebody's session, in which a statement was given and nothing was ended."""
    with psycopg.connect(url) as session:
        session.execute(statement)
        yield
        session.rollback()


def test_who_waits_for_a_job_that_is_locked_is_told_and_may_come_again(
    impatient: Database, database_url: str
) -> None:
    store = JobStore(impatient)
    lease = taken(store, queued(store, "a"))
    with locked(database_url, "select * from skill_fleet.job for update"):
        began = time.monotonic()
        with pytest.raises(StorageError, match="lets us wait for too long") as caught:
            store.progress(lease, message="x")
        assert time.monotonic() - began < 10 * LOCK_SECONDS
        assert caught.value.code == "unavailable", "so who asked over the network is told to come again"
        assert "pg_stat_activity" in caught.value.hint
        assert store.get("a").message == "", "who only reads waits for nobody"
    assert store.progress(lease, message="x") is None
    assert store.get("a").message == "x"


def test_a_lock_that_is_let_go_a_little_later_is_waited_for(impatient: Database, database_url: str) -> None:
    store = JobStore(impatient)
    lease = taken(store, queued(store, "a"))
    with ThreadPoolExecutor(1) as pool:
        with locked(database_url, "select * from skill_fleet.job for update"):
            told = pool.submit(store.progress, lease, message="x")
            with pytest.raises(TimeoutError):
                told.result(1.5 * LOCK_SECONDS)
        assert told.result(60) is None
    assert store.get("a").message == "x"


def test_a_migration_waits_for_a_table_as_long_as_it_takes(impatient: Database, database_url: str) -> None:
    taken_back(impatient, "0003")
    with ThreadPoolExecutor(1) as pool:
        with locked(database_url, "lock table skill_fleet.job in access share mode"):  # a backup
            prepared = pool.submit(prepare_database, impatient, queue=False)
            with pytest.raises(TimeoutError):
                prepared.result(10 * LOCK_SECONDS)
        prepared.result(60)
    assert migrate.revision(impatient) == migrate.HEAD
    with contextlib.ExitStack() as stack:
        for _ in range(5):  # more than the pool has kept
            connection = stack.enter_context(impatient.engine.connect())
            assert connection.exec_driver_sql("show lock_timeout").scalar() == "200ms", "for itself alone"
