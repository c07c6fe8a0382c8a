"""How often sealed tests were read: kept beside the ledger, in the workspace's file or in the database."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

from skill_fleet.config.load import Loaded
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.store import Held

_SCHEMA = """
create table if not exists test_reading (
  test text not null, reader text not null, number integer not null, primary key (test, reader)
) without rowid;
"""


class Readings(Protocol):
    """Which reader was the how-manieth of each test, from 1, without gaps."""

    def count(self, test: str, reader: str) -> int:
        """Note that a test set is read, and say the how-manieth reading that is.

        Replaying a run is not a new reading: it keeps its number.

        Args:
            test: Digest of the test set.
            reader: Digest of what decides the result, and of the program it ended in.

        Raises:
            StorageError: They cannot be read or written.
            LeaseLost: Another process has taken the job up: nobody will see what was read.
        """
        ...

    def next(self, test: str) -> int:
        """The number that the next new reading of a test set would have; nothing is noted.

        Raises:
            StorageError: They cannot be read.
        """
        ...


def readings_of(loaded: Loaded, lease: Held | None = None) -> Readings:
    """The readings of these settings: in the database where one is named, else in the workspace.

    Args:
        loaded: Settings and workspace.
        lease: The right to a job of the service: who has lost it counts no reading. Files need none: the next
            process of a job waits there until an earlier one has ended.
    """
    if loaded.database is None:
        return FileReadings(loaded.workspace.ledger)
    from skill_fleet.llm.journal.database_engine import postgres_engine
    from skill_fleet.llm.journal.database_readings import DatabaseReadings

    return DatabaseReadings(postgres_engine(loaded.database), lease=lease)


class FileReadings:
    """The readings in a workspace.

    Args:
        ledger: The workspace's ledger file.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def count(self, test: str, reader: str) -> int:
        """Note a reading, and say the how-manieth it is; see `Readings`."""
        try:
            with closing(sqlite3.connect(self._ledger, timeout=30, isolation_level=None)) as db:
                db.execute(_SCHEMA)
                db.execute("begin immediate")
                row = db.execute(
                    "select number from test_reading where test=? and reader=?", (test, reader)
                ).fetchone()
                if row is None:
                    row = db.execute(
                        "insert into test_reading select ?, ?, coalesce(max(number), 0) + 1 from test_reading"
                        " where test=? returning number",
                        (test, reader, test),
                    ).fetchone()
                db.execute("commit")
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        return int(row[0])

    def next(self, test: str) -> int:
        """The number of the next new reading; see `Readings`."""
        if not self._ledger.exists():
            return 1
        try:
            place = f"{self._ledger.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(place, uri=True, timeout=30)) as db:
                if not db.execute("select 1 from sqlite_master where name='test_reading'").fetchone():
                    return 1
                row = db.execute("select coalesce(max(number), 0) from test_reading where test=?", (test,))
                return int(row.fetchone()[0]) + 1
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> StorageError:
        return StorageError(f"The ledger {self._ledger} cannot be used: {str(error).rstrip('.')}.")
