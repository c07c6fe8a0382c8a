"""The write-ahead log of a new file, which many open at one moment or one holds for long."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from clocks import FakeClock
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.write_ahead import write_ahead


class Releasing(FakeClock):
    """A clock at whose third pause another connection lets go of the file."""

    def __init__(self, holder: sqlite3.Connection) -> None:
        super().__init__()
        self.pauses = 0
        self._holder = holder

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.pauses += 1
        if self.pauses == 3:
            self._holder.execute("rollback")


def connected(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)


def mode(db: sqlite3.Connection, schema: str = "main") -> str:
    return str(db.execute(f"pragma {schema}.journal_mode").fetchone()[0])


def test_it_waits_until_another_lets_go(tmp_path: Path) -> None:
    with closing(connected(tmp_path / "a")) as holder, closing(connected(tmp_path / "a")) as db:
        holder.execute("begin exclusive")
        clock = Releasing(holder)
        write_ahead(db, seconds=1, clock=clock)
        assert clock.pauses == 3
        assert mode(db) == "wal"


def test_a_file_that_stays_locked_is_given_up_in_time(tmp_path: Path) -> None:
    with closing(connected(tmp_path / "a")) as holder, closing(connected(tmp_path / "a")) as db:
        holder.execute("begin exclusive")
        clock = FakeClock()
        begun = clock.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write_ahead(db, seconds=1, clock=clock)
        assert 1 <= clock.monotonic() - begun < 1.1


def test_another_failure_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no database at all, but more than a header's length of it" * 30)
    with (
        closing(connected(tmp_path / "a")) as db,
        pytest.raises(sqlite3.DatabaseError, match="not a database"),
    ):
        write_ahead(db, seconds=1, clock=FakeClock())


def test_only_the_named_file_is_given_one(tmp_path: Path) -> None:
    with closing(connected(tmp_path / "a")) as db:
        db.execute("attach database ? as other", (str(tmp_path / "b"),))
        write_ahead(db, seconds=1, clock=FakeClock(), schema="other")
        assert mode(db) == "delete"
        assert mode(db, "other") == "wal"


def test_many_that_open_new_files_together_all_have_one(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    failed: list[Exception] = []

    def open_all() -> None:
        try:
            for number in range(40):
                with closing(connected(tmp_path / str(number))) as db:
                    together.wait(60)
                    write_ahead(db, seconds=30, clock=SYSTEM_CLOCK)
        except (sqlite3.Error, threading.BrokenBarrierError) as error:
            failed.append(error)
            together.abort()

    threads = [threading.Thread(target=open_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
