"""A database of jobs, opened: how it is read and written, and what its failures mean to the user."""

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.database_engine import AWAY, passing
from skill_fleet.llm.journal.database_engine import explained as explained_on_postgres
from skill_fleet.llm.journal.database_tables import SCHEMA

T = TypeVar("T")
_PAUSE_SECONDS = 0.25
_AT_ONCE = 2
_HINTS = (
    ("no such table", "Its tables are made by: skill-fleet serve."),
    ("full", "Free some disk space: nothing that was written is lost."),
    ("malformed", "Move the damaged file aside; a new one is made, without the jobs of the old one."),
    ("not a database", "Move the damaged file aside; a new one is made, without the jobs of the old one."),
    ("locked", "Another process holds it; end it or wait."),
    ("readonly", "Check the rights of the file and of its folder."),
    ("unable to open", "Check the rights of the file and of its folder."),
)


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
        """What `work` reads; every statement sees what is there when it runs.

        Done again when the connection breaks: `work` may run more than once.

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
        try:
            with contextlib.closing(self.engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute(statement.on_sqlite, (value,))
                row: Sequence[Any] | None = cursor.fetchone()
                cursor.close()
        except (sqlite3.Error, sa.exc.TimeoutError) as error:
            raise self.explained(error) from None
        else:
            return row

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
                connection.execution_options(immediate=True)
                with connection.begin() as transaction:
                    value = work(connection)
                    sent = True
                    transaction.commit()
                return value

        return self._patiently(once, lambda: not sent)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def explained(self, error: Exception) -> Exception:
        """What a failure means to the user, without the address's password.

        A `StorageError` with the code `unavailable` where trying again later can help.
        """
        if isinstance(error, sa.exc.TimeoutError):
            return StorageError(
                f"{self.place} is busy: all connections of this process are in use.",
                hint="Try again in a moment.",
                code=AWAY,
            )
        if not self.is_sqlite:
            return explained_on_postgres(error, self.engine)
        said = str(getattr(error, "orig", None) or error).rstrip(".")
        return StorageError(
            f"{self.place} cannot be used: {said}.",
            hint=next((hint for words, hint in _HINTS if words in said), ""),
            code=AWAY if "locked" in said else None,
        )

    def _patiently(self, once: Callable[[], T], may_repeat: Callable[[], bool]) -> T:
        until = self.clock.monotonic() + self.patience_seconds
        at_once = _AT_ONCE
        while True:
            try:
                return once()
            except sa.exc.DBAPIError as error:
                again = not self.is_sqlite and passing(error) and may_repeat()
                if not again or (not at_once and self.clock.monotonic() >= until):
                    raise self.explained(error) from None
            except sa.exc.TimeoutError as error:
                raise self.explained(error) from None
            if at_once:
                # A pooled connection that had broken, a deadlock: nothing to wait for.
                at_once -= 1
            else:
                self.clock.sleep(_PAUSE_SECONDS)


class QuickSelect:
    """A select with one parameter, `value`, whose words for SQLite are made once.

    Args:
        select: The statement.
    """

    def __init__(self, select: sa.Select[Any]) -> None:
        self.select = select
        compiled = select.compile(
            dialect=sqlite.dialect(), schema_translate_map={SCHEMA: "main"}, render_schema_translate=True
        )
        self.on_sqlite = str(compiled)
