"""Where the jobs are kept: files of the workspace, or PostgreSQL when an address is given."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ConfigError, StorageError
from skill_fleet.foundation.write_ahead import write_ahead
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.tables import SCHEMA
from skill_fleet.llm.journal.database_engine import place_of, postgres_engine

__all__ = ["Database", "open_database", "prepare_database"]

_BUSY_SECONDS = 30.0
_POOL = 8
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def open_database(
    workspace: Workspace, url: str | None, *, patience_seconds: float = 0.0, clock: Clock = SYSTEM_CLOCK
) -> Database:
    """The database of jobs; nothing is read or written yet.

    Args:
        workspace: Whose embedded files are meant where no address is given.
        url: `postgresql://user:password@host/database`, or None for SQLite in the workspace.
        patience_seconds: For how long a database that cannot be reached is waited for, at each reading and
            writing. A server answers at once, a worker waits.
        clock: For this waiting.

    Raises:
        ConfigError: The address is none, or of another database.
        StorageError: The folder of the embedded files cannot be made.
    """
    if url:
        return _postgresql(url, patience_seconds, clock)
    return _embedded(workspace.state / "service", patience_seconds, clock)


def prepare_database(database: Database, *, queue: bool = True) -> None:
    """Make the tables, or bring them to this version; safe when several processes do it at once.

    Quick when there is nothing to do.

    Args:
        database: The database.
        queue: Also the queue's own tables, which takes a second the first time.

    Raises:
        StorageError: It cannot be reached or written, or was prepared by a newer skill-fleet.
    """
    from skill_fleet.jobs.migrate import prepare

    prepare(database, queue=queue)


def _postgresql(text: str, patience_seconds: float, clock: Clock) -> Database:
    if text.partition("://")[0] not in _SCHEMES:
        raise ConfigError(
            "The address of the database is none of PostgreSQL.",
            hint="postgresql://USER:PASSWORD@HOST:PORT/NAME",
        )
    engine = postgres_engine(text, poolclass=sa.QueuePool)
    address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    place = f"The database ({place_of(engine)})"
    return Database(
        engine=engine,
        place=place,
        url=address,
        queue_url=address,
        is_sqlite=False,
        folder=None,
        patience_seconds=patience_seconds,
        clock=clock,
    )


def _embedded(folder: Path, patience_seconds: float, clock: Clock) -> Database:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    file = folder / "jobs.sqlite"
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(file)),
        pool_size=_POOL,
        max_overflow=_POOL,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
        execution_options={"schema_translate_map": {SCHEMA: None}},
    )
    sa.event.listen(engine, "connect", lambda connection, _: _on_connect(connection, clock))
    sa.event.listen(engine, "begin", _on_begin)
    queue = sa.URL.create("sqlite", database=str(folder / "queue.sqlite")).render_as_string()
    return Database(
        engine=engine,
        place=f"The database {file}",
        url=None,
        queue_url=queue,
        is_sqlite=True,
        folder=folder,
        patience_seconds=patience_seconds,
        clock=clock,
    )


def _on_connect(connection: sqlite3.Connection, clock: Clock) -> None:
    write_ahead(connection, seconds=_BUSY_SECONDS, clock=clock)
    connection.execute("pragma synchronous=normal")
    connection.execute("pragma foreign_keys=on")


def _on_begin(connection: sa.Connection) -> None:
    # A transaction that will write takes the lock at once: one that begins reading could only fail later.
    if connection.get_execution_options().get("immediate"):
        connection.exec_driver_sql("begin immediate")
