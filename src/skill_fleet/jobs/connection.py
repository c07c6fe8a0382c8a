"""A database of jobs, opened: how it is read and written, and what its failures mean to the user."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.database_tables import SCHEMA

T = TypeVar("T")
_PAUSE_SECONDS = 0.25
_DEADLOCKS = 5
_DEADLOCK_STATES = frozenset({"40P01", "40001"})
_MISSING_TABLE = "42P01"


@dataclass(frozen=True)
class Database:
    """The tables of the service, in SQLite or PostgreSQL; safe for all threads of a process.

    Attributes:
        engine: The connections. On SQLite the tables have no schema.
        place: Where it is, in words without a password.
        url: The address on PostgreSQL, password included; None where it is embedded.
        queue_url: The address for the queue's own tables.
        is_sqlite: Whether it is embedded.
        folder: The folder of the embedded files.
        patience_seconds: For how long a database that cannot be reached is waited for.
        clock: For this waiting; times in rows are the database's.
    """

    engine: sa.Engine = field(repr=False)
    place: str
    url: str | None = field(repr=False)
    queue_url: str = field(repr=False)
    is_sqlite: bool
    folder: Path | None
    patience_seconds: float = 0.0
    clock: Clock = SYSTEM_CLOCK

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` reads; every statement sees what is there when it runs. Asked again when the connection breaks.

        Raises:
            StorageError: The database cannot be reached or read.
        """
        options = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}

        def once() -> T:
            with self.engine.connect() as connection:
                return work(connection.execution_options(**options))

        return self._patiently(once, lambda: True)

    def quickly(self, statement: "QuickSelect", value: str) -> Sequence[Any] | None:
        """The first row of a prepared statement, or None; on SQLite a quarter of the time of `read`.

        Raises:
            StorageError: As for `read`.
        """
        if not self.is_sqlite:
            return self.read(lambda db: db.execute(statement.select, {"value": value}).first())
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(statement.on_sqlite, (value,))
            row: Sequence[Any] | None = cursor.fetchone()
            cursor.close()
        except sqlite3.Error as error:
            raise self.explained(error) from None
        else:
            return row
        finally:
            connection.close()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, after all it wrote was committed as one transaction.

        Done again when the connection breaks before the commit was sent, or when the database ends it because
        of a deadlock: `work` may run more than once.

        Raises:
            StorageError: The database cannot be reached or written.
        """
        sent = False

        def once() -> T:
            nonlocal sent
            with self.engine.connect() as connection:
                connection = connection.execution_options(immediate=True)
                with connection.begin() as transaction:
                    value = work(connection)
                    sent = True
                    transaction.commit()
                return value

        return self._patiently(once, lambda: not sent)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _patiently(self, once: Callable[[], T], may_repeat: Callable[[], bool]) -> T:
        until = self.clock.monotonic() + self.patience_seconds
        deadlocks = 0
        broken = 0
        while True:
            try:
                return once()
            except sa.exc.DBAPIError as error:
                if _state(error) in _DEADLOCK_STATES and deadlocks < _DEADLOCKS:
                    deadlocks += 1
                    continue
                waiting = self.clock.monotonic() < until
                if not unreachable(error) or not may_repeat() or (broken and not waiting):
                    raise self.explained(error) from None
                broken += 1
            except (sa.exc.SQLAlchemyError, OSError) as error:
                raise self.explained(error) from None
            if broken > 1:
                self.clock.sleep(_PAUSE_SECONDS)

    def explained(self, error: Exception) -> StorageError:
        """What a failure means to the user, without the address's password.

        The code is `unavailable` where trying again later can help, else `storage`.
        """
        said = self._said(error)
        if isinstance(error, sa.exc.DBAPIError) and unreachable(error):
            return StorageError(
                f"{self.place} cannot be reached: {said}.",
                hint="Start it, or check SKILL_FLEET_DATABASE_URL; jobs go on where they were.",
                code="unavailable",
            )
        busy = "locked" in said or "busy" in said
        return StorageError(
            f"{self.place} cannot be used: {said}.",
            hint=self._hint(said, error),
            code="unavailable" if busy else None,
        )

    def _said(self, error: Exception) -> str:
        origin = getattr(error, "orig", None) or error
        lines = str(origin).strip().splitlines() or [type(origin).__name__]
        said = lines[0].rstrip(".")
        password = self.engine.url.password
        return said.replace(str(password), "***") if password else said

    def _hint(self, said: str, error: Exception) -> str:
        if _state(error) == _MISSING_TABLE or "no such table" in said:
            return "Its tables are made by: skill-fleet serve."
        if "full" in said or "No space" in said:
            return "Free some disk space: nothing that was written is lost."
        if "malformed" in said or "not a database" in said:
            return "Move the damaged file aside; a new one is made, without the jobs of the old one."
        if "locked" in said:
            return "Another process holds it; end it or wait."
        if "readonly" in said or "read-only" in said or "unable to open" in said:
            return "Check the rights of the file and of its folder."
        return ""


class QuickSelect:
    """A select with one parameter, `value`, whose words for SQLite are made once.

    Args:
        select: The statement.
    """

    def __init__(self, select: sa.Select[Any]) -> None:
        self.select = select
        compiled = select.compile(
            dialect=sqlite.dialect(), schema_translate_map={SCHEMA: "main"}, render_schema_translate=True
        )  # type: ignore[no-untyped-call]
        self.on_sqlite = str(compiled)


def unreachable(error: sa.exc.DBAPIError) -> bool:
    """Whether the database was not there, or went away: what was asked may succeed later."""
    if isinstance(error.orig, sqlite3.Error):
        return False
    state = _state(error)
    # 57P: the server shuts down or starts; 08: connections; 53300: too many of them.
    gone = state.startswith(("57P", "08")) or state == "53300"
    return gone or error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and not state)


def _state(error: Exception) -> str:
    origin: Any = getattr(error, "orig", None)
    return str(getattr(origin, "sqlstate", None) or "")
