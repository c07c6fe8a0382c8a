"""A database that goes away: waited for when it comes back, one clean sentence when it does not."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from postgres import PASSWORD, Postgres
from skill_fleet.config.load import DATABASE_URL, load
from skill_fleet.foundation.errors import ConfigError, SkillFleetError, StorageError
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.database_engine import explained, postgres_engine
from skill_fleet.llm.journal.database_journal import DatabaseJournal
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.testing import ScriptedModel

USAGE = Usage(10, 5, 0.25)
Pay = Callable[..., str]


@pytest.fixture
def stopped(postgres: Postgres) -> Iterator[Callable[[], None]]:
    """Stops the server; it is there again after the test."""
    was_stopped = threading.Event()

    def stop() -> None:
        postgres.stop(crash=True)
        was_stopped.set()

    yield stop
    if was_stopped.is_set():
        postgres.start()


def clean(error: SkillFleetError) -> None:
    """One sentence for people: no password, no statement, no answers, no second line."""
    assert PASSWORD not in error.message + error.hint + repr(error)
    assert "\n" not in error.message
    assert "insert" not in error.message.lower()
    assert error.message.startswith("The database (PostgreSQL 127.0.0.1:")
    assert error.exit_code == 1


@pytest.mark.parametrize("crash", [False, True], ids=["restart", "crash"])
def test_a_restart_is_waited_out_and_nothing_is_lost_or_doubled(
    database: Any, postgres: Postgres, rig: Any, crash: bool
) -> None:
    away = threading.Event()

    def held(number: int, _: Any) -> None:
        if number > 100:  # on a busy machine all would be answered before it goes away
            away.wait(60)

    model = ScriptedModel(latency=0.005, fault=held, answer=lambda request: f"to {request.messages[-1].text}")
    made = rig(model, store=database.open(lease=database.take_up("run")))
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: made.lm(f"item {number}")[0], range(300))
        while model.attempts < 20:
            time.sleep(0.001)
        postgres.stop(crash=crash)
        begun = model.attempts
        away.set()
        time.sleep(0.3)
        assert model.attempts - begun <= 8, "no call is made that could not be noted"
        postgres.start()
        assert list(answers) == [f"to item {number}" for number in range(300)]
    assert begun < 300, "it was in the middle"
    assert model.attempts == 300
    spent = made.spent
    assert (spent.calls, spent.settled, spent.lost) == (300, 300, 0)


def test_a_session_that_the_server_ends_is_begun_again(database: Any, pay: Pay) -> None:
    """In the middle of transactions, too: whatever was not committed is written again, and once."""
    journal = database.open()
    over = threading.Event()

    def ends_sessions() -> None:
        for _ in range(40):  # not for ever: on a busy machine nothing would be written between two of them
            database.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            if over.wait(0.01):
                return

    ending = threading.Thread(target=ends_sessions)
    ending.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: pay(journal, f"k{number}", f'"{number}"'), range(150)))
    finally:
        over.set()
        ending.join()
    spent = journal.spent("run")
    assert (spent.calls, spent.settled) == (150, 150)
    assert [journal.lookup(f"k{number}") for number in range(150)] == [f'"{n}"' for n in range(150)]


def test_a_database_that_stays_away_stops_the_run_with_one_sentence(
    database: Any, stopped: Callable[[], None], rig: Any
) -> None:
    model = ScriptedModel()
    made = rig(model, store=database.open(patience=4.0))
    made.lm("before")
    stopped()
    with pytest.raises(Halt) as caught:
        made.lm("after")
    assert (caught.value.cause, caught.value.error.code) == ("storage", "unavailable")
    clean(caught.value.error)
    assert "resume" in caught.value.error.hint
    assert model.attempts == 1
    began = time.monotonic()
    with pytest.raises(StorageError):
        made.journal.spent("run")
    assert time.monotonic() - began < 3.9, "who was waited for in vain is not waited for again"


def test_an_answer_that_came_while_it_was_away_counts_as_lost(
    database: Any, stopped: Callable[[], None], postgres: Postgres, rig: Any
) -> None:
    model = ScriptedModel(fault=lambda number, _: stopped())
    made = rig(model, store=database.open(patience=0.1))
    with pytest.raises(Halt) as caught:
        made.lm("ask")
    assert caught.value.cause == "storage"
    postgres.start()
    again = database.open()
    assert again.reconcile("run") == 1
    spent = again.spent("run")
    assert (spent.calls, spent.lost) == (1, 1)
    assert spent.usd_unknown_calls == 0, "the model is free, and that is known"
    postgres.stop()  # for the fixture, which starts it


def test_it_is_used_again_as_soon_as_it_is_back(database: Any, postgres: Postgres, pay: Pay) -> None:
    journal = database.open(patience=0.0)
    postgres.stop()
    try:
        for _ in range(3):
            with pytest.raises(StorageError):
                pay(journal, "k")
    finally:
        postgres.start()
    assert pay(journal, "k") == '"x"'
    assert journal.spent("run").calls == 1


def test_a_database_that_nobody_prepared_is_one_sentence(postgres_url: str) -> None:
    for use in (
        lambda: DatabaseJournal(postgres_engine(postgres_url)),
        lambda: readings_of(load(environ={DATABASE_URL: postgres_url})).next("t"),
    ):
        with pytest.raises(StorageError, match="has no tables of skill-fleet") as caught:
            use()
        clean(caught.value)
        assert "skill-fleet serve" in caught.value.hint


@pytest.mark.parametrize(
    ("found", "said", "todo"),
    [("9999", "newer skill-fleet", "Upgrade"), ("0000", "older skill-fleet", "skill-fleet serve")],
)
def test_tables_of_another_version_are_refused_wherever_they_are_opened(
    database: Any, found: str, said: str, todo: str
) -> None:
    database.rows(f"update skill_fleet.alembic_version set version_num = '{found}'")  # noqa: S608
    for use in (
        lambda: DatabaseJournal(postgres_engine(database.url)),
        lambda: readings_of(load(environ={DATABASE_URL: database.url})).next("t"),
    ):
        with pytest.raises(StorageError, match=said) as caught:
            use()
        clean(caught.value)
        assert todo in caught.value.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("?no_such_option=1", "no_such_option"),
        ("?sslmode=perhaps", "sslmode"),
        ("?connect_timeout=x", "connect_timeout"),
    ],
)
def test_an_address_with_a_mistake_is_not_a_database_that_is_away(options: str, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught:
        DatabaseJournal(postgres_engine(f"postgresql://u:{PASSWORD}@127.0.0.1:1/x{options}"))
    clean(caught.value)
    assert "cannot be used" in caught.value.message
    assert "DATABASE_URL" in caught.value.hint


def test_before_anything_was_begun_there_is_no_run_to_resume() -> None:
    away = f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/x"
    for use in (
        lambda: DatabaseJournal(postgres_engine(away)),
        lambda: readings_of(load(environ={DATABASE_URL: away})).next("t"),
    ):
        with pytest.raises(StorageError, match="does not answer") as caught:
            use()
        assert "resume" not in caught.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.rpartition("/")[0] + "/missing", "does not exist"),
        (lambda _: f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/x", "refused"),
        (lambda url: url.replace("postgres:", "nobody-there:"), "does not exist"),
    ],
    ids=["no such database", "no such port", "no such user"],
)
def test_an_address_that_leads_nowhere_is_one_sentence_at_once(
    database: Any, change: Callable[[str], str], said: str
) -> None:
    began = time.monotonic()
    with pytest.raises(StorageError, match=said) as caught:
        DatabaseJournal(postgres_engine(change(database.url)))
    clean(caught.value)
    assert time.monotonic() - began < 15, "one that is away would be waited for for 20 s"


@pytest.mark.parametrize("url", [f"postgresql://u:{PASSWORD}@h:notaport/x", f"postgresql:{PASSWORD}", ""])
def test_what_is_no_address_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        postgres_engine(url)
    assert PASSWORD not in str(caught.value) + repr(caught.value.__cause__)


def test_what_the_server_says_never_shows_a_password(database: Any) -> None:
    import sqlalchemy as sa

    engine = postgres_engine(database.url)
    with pytest.raises(sa.exc.DBAPIError) as caught, engine.connect() as connection:
        connection.execute(sa.text(f"select {PASSWORD.replace('-', '_')}, 'a'"), {})
    error = explained(caught.value, engine)
    assert isinstance(error, StorageError)
    clean(error)
    engine.dispose()


def test_the_settings_choose_the_journal(database: Any, tmp_path: Path, pay: Pay) -> None:
    files = open_journal(load(tmp_path, environ={}))
    assert isinstance(files, Journal)
    files.close()
    loaded = load(tmp_path, environ={DATABASE_URL: database.url})
    shared = open_journal(loaded)
    assert isinstance(shared, DatabaseJournal)
    assert PASSWORD not in shared.place + repr(loaded)
    pay(shared, "k")
    shared.close()
    assert database.open().lookup("k") == '"x"'
    assert readings_of(loaded).count("t", "a") == readings_of(loaded).count("t", "a") == 1
    assert not (tmp_path / "elsewhere").exists()
