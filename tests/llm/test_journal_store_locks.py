"""Locks that somebody holds, limits of the server, replies that never came: what is told, what is kept."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.database_engine import postgres_engine
from skill_fleet.llm.journal.database_journal import DatabaseJournal
from skill_fleet.llm.journal.spent import Usage

USAGE = Usage(10, 5, 0.25)
LEASE_ROW = "select * from skill_fleet.lease for update"
RESPONSES = "lock table skill_fleet.response in access exclusive mode"
Opens = Callable[..., DatabaseJournal]


def with_settings(url: str, **settings: int) -> str:
    """The address, with settings of the server for its sessions."""
    return f"{url}?options=" + quote(" ".join(f"-c {name}={value}" for name, value in settings.items()))


@pytest.fixture
def opens(database: Any) -> Iterator[Opens]:
    """Opens a journal whose sessions have settings of the server."""
    with contextlib.ExitStack() as stack:

        def make(*, lease: Any = None, patience: float = 0.0, **settings: int) -> DatabaseJournal:
            engine = postgres_engine(with_settings(database.url, **settings))
            journal = DatabaseJournal(engine, lease=lease, patience=patience)
            stack.callback(journal.close)
            return journal

        yield make


@contextlib.contextmanager
def locked(url: str, statement: str) -> Iterator[psycopg.Connection]:
    """Somebody's session, in which a statement was given and nothing was ended."""
    with psycopg.connect(url) as session:
        session.execute(statement)
        yield session
        session.rollback()


def together(journal: DatabaseJournal, pool: ThreadPoolExecutor, works: list[Callable[[], Any]]) -> list[Any]:
    """Give works to one commit, in this order."""
    held, go = threading.Event(), threading.Event()

    def first() -> None:
        held.set()
        go.wait(60)

    futures: list[Future[Any]] = [pool.submit(journal._commits.run, first)]
    held.wait(60)
    for number, work in enumerate(works, 1):
        futures.append(pool.submit(work))
        end = time.monotonic() + 60
        while len(journal._commits._queue) < number:
            assert time.monotonic() < end
            time.sleep(0.001)
    go.set()
    return futures[1:]


@pytest.mark.parametrize(("settings", "shown"), [({}, "15s"), ({"lock_timeout": 300}, "300ms")])
def test_locks_are_waited_for_15_seconds_unless_somebody_said_otherwise(
    postgres_url: str, settings: dict[str, int], shown: str
) -> None:
    engine = postgres_engine(with_settings(postgres_url, **settings))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("show lock_timeout")) == shown
        connection.rollback()
        assert connection.scalar(sa.text("show idle_in_transaction_session_timeout")) == "3s"
    engine.dispose()


def test_all_who_wait_for_a_lock_are_told_in_time_and_go_on_when_it_is_free(
    database: Any, opens: Opens
) -> None:
    journal = opens(lease=database.take_up("j"), patience=0.1, lock_timeout=1000)

    def attempt(number: int) -> str:
        return journal.open_attempt("run", f"k{number}", "evaluation", "m")

    with ThreadPoolExecutor(16) as pool:
        with locked(database.url, LEASE_ROW):
            began = time.monotonic()
            errors = [future.exception(60) for future in [pool.submit(attempt, n) for n in range(16)]]
            took = time.monotonic() - began
        assert took < 14, "one behind the other they would wait for 16 times as long"
        for error in errors:
            assert isinstance(error, StorageError)
            assert error.code == "unavailable"
            assert "lets us wait for too long" in error.message
            assert "pg_stat_activity" in error.hint
            assert "resume the run" in error.hint
        assert len(set(pool.map(attempt, range(4)))) == 4
    assert journal.spent("run").calls == 4


def test_a_lock_on_the_right_to_call_keeps_no_answer_from_being_stored(database: Any, opens: Opens) -> None:
    journal = opens(lease=database.take_up("j"), lock_timeout=300)
    paid = [journal.open_attempt("run", f"k{number}", "evaluation", "m") for number in range(3)]

    def settle(number: int) -> str:
        return journal.settle(paid[number], f"k{number}", "m", f'"{number}"', USAGE)

    def begin() -> str:
        return journal.open_attempt("run", "later", "evaluation", "m")

    with ThreadPoolExecutor(8) as pool, locked(database.url, LEASE_ROW):
        works = [begin, lambda: settle(0), begin, lambda: settle(1), lambda: journal.fail(paid[2], "server")]
        begun, first, also, second, failed = together(journal, pool, works)
        assert (first.result(60), second.result(60), failed.result(60)) == ('"0"', '"1"', None)
        assert all(isinstance(one.exception(60), StorageError) for one in (begun, also))
    assert database.rows("select state from skill_fleet.attempt order by id") == [
        ("settled",),
        ("settled",),
        ("failed",),
    ]


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_an_answer_is_in_hand_until_it_is_stored_whatever_limit_of_the_server_it_meets(
    database: Any, opens: Opens, limit: str
) -> None:
    journal = opens(patience=30.0, **{limit: 200})
    attempt = journal.open_attempt("run", "k", "evaluation", "m")
    with ThreadPoolExecutor(1) as pool:
        with locked(database.url, RESPONSES):
            settled = pool.submit(journal.settle, attempt, "k", "m", '"x"', USAGE)
            with pytest.raises(TimeoutError):
                settled.result(0.8)
        assert settled.result(60) == '"x"'
    assert database.rows("select state from skill_fleet.attempt") == [("settled",)]
    assert database.open().lookup("k") == '"x"'


class LostReply:
    """Breaks a connection once, after a statement took effect and before anybody heard of it."""

    def __init__(self, engine: sa.Engine, words: str) -> None:
        self._words: str | None = words
        sa.event.listen(engine, "after_cursor_execute", self._after)

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self._words is not None and self._words in statement:
            self._words = None
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    @property
    def was_lost(self) -> bool:
        return self._words is None


@pytest.mark.parametrize("works", [1, 3])
@pytest.mark.parametrize("fenced", [False, True])
def test_what_was_committed_without_a_reply_is_noted_once(database: Any, fenced: bool, works: int) -> None:
    engine = postgres_engine(database.url)
    lease = database.take_up("j") if fenced else None
    journal = DatabaseJournal(engine, lease=lease, patience=5.0)
    reply = LostReply(engine, "INSERT INTO skill_fleet.attempt" if works == 1 else "commit")

    def attempt(number: int) -> str:
        return journal.open_attempt("run", f"k{number}", "evaluation", "m")

    with ThreadPoolExecutor(4) as pool:
        if works == 1:
            begun = [attempt(0)]
        else:
            waiting = [lambda n=n: attempt(n) for n in range(works)]
            begun = [future.result(60) for future in together(journal, pool, waiting)]
        assert reply.was_lost
        rows = database.rows("select attempt from skill_fleet.attempt")
        assert sorted(rows) == sorted((one,) for one in begun)
        for number, one in enumerate(begun):
            assert journal.settle(one, f"k{number}", "m", '"x"', USAGE) == '"x"'
    assert journal.spent("run").settled == works
    journal.close()


def test_a_connection_that_broke_is_made_again_for_all_and_not_for_each(database: Any) -> None:
    engine = postgres_engine(database.url)
    journal = DatabaseJournal(engine, patience=5.0)
    journal.open_attempt("run", "before", "evaluation", "m")
    made: list[float] = []
    sa.event.listen(engine, "do_connect", lambda *_: made.append(time.monotonic()))

    def attempt() -> str:
        return journal.open_attempt("run", "k", "evaluation", "m")

    with ThreadPoolExecutor(16) as pool:
        begun = together(journal, pool, [lambda: ended(database, journal), *[attempt] * 12])
        assert len({future.result(60) for future in begun[1:]}) == 12
    assert len(made) <= 3, "one connect for each would be 13"
    assert journal.spent("run").calls == 13
    journal.close()


def ended(database: Any, journal: DatabaseJournal) -> None:
    """Work of a batch in whose middle the server ends the session."""
    ours: list[int] = []

    def work() -> None:
        pid = int(journal._connection.exec_driver_sql("select pg_backend_pid()").scalar_one())
        if not ours:
            ours.append(pid)
            database.rows(f"select pg_terminate_backend({pid}, 5000)")

    journal._patience.with_(lambda: journal._commits.run(work))
