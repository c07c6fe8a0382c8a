"""The schema of the database, made and brought up to date under one lock."""

import contextlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.tables import PREPARED, SCHEMA
from skill_fleet.llm.journal.database_tables import REVISION, VERSION

HEAD = REVISION
"""The revision that this code works with."""
MIGRATIONS = Path(__file__).resolve().parent / "migrations"
VERSIONS = MIGRATIONS / "versions"
QUEUE_SCHEMA = "dbos"
QUEUE_FILE = "queue.sqlite"
_QUEUE = "queue"
_QUEUE_PACKAGE = "dbos"
_QUEUE_TABLE = "workflow_status"
_LOCK_SECONDS = 60
_LOCK_PAUSE = 0.1
# Of PostgreSQL's advisory locks: any number that nobody else uses.
_LOCK_NUMBER = 0x5F1EE7


def revision(database: Database) -> str | None:
    """The revision of the tables; None where there are none.

    Raises:
        StorageError: The database cannot be reached or read.
    """
    schema = None if database.is_sqlite else SCHEMA

    def work(db: sa.Connection) -> str | None:
        if not sa.inspect(db).has_table("alembic_version", schema=schema):
            return None
        found: str | None = db.scalar(sa.select(VERSION.c.version_num))
        return found

    return database.read(work)


def prepare(database: Database, *, queue: bool = True) -> None:
    """Bring the tables, and the queue's own, to this version.

    Raises:
        StorageError: The database cannot be reached or written, or was prepared by a newer skill-fleet.
    """
    if revision(database) == HEAD and not (queue and _queue_is_old(database)):
        return
    with _alone(database):
        # Most often somebody else was first, and alembic need not be loaded.
        if revision(database) != HEAD:
            upgrade(database)
        if queue and _queue_is_old(database):
            _prepare_queue(database)


def upgrade(database: Database, versions: Sequence[Path] = (VERSIONS,)) -> None:
    """Apply the migrations that are missing, as one transaction. The caller sees to it that nobody else does.

    Args:
        database: The database.
        versions: The folders of the migrations.

    Raises:
        StorageError: It cannot be written, or was prepared by a newer skill-fleet.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(path).replace("%", "%%") for path in versions))
    scripts = ScriptDirectory.from_config(config)
    found = revision(database)
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise StorageError(
            f"{database.place} was prepared by a newer skill-fleet (revision {found} of its tables).",
            hint="Upgrade skill-fleet.",
        )
    if found == scripts.get_current_head():
        return

    def work(db: sa.Connection) -> None:
        if not database.is_sqlite:
            # As long as it takes: a backup holds the tables for minutes, and is no reason not to start.
            db.execute(sa.text("set local lock_timeout = 0"))
            db.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
        config.attributes["connection"] = db
        command.upgrade(config, "head")

    database.write(work)


def _queue_is_old(database: Database) -> bool:
    """Whether the queue's own tables are missing, or were last seen to by another version of it."""

    def work(db: sa.Connection) -> bool:
        if database.folder is None and not sa.inspect(db).has_table(_QUEUE_TABLE, schema=QUEUE_SCHEMA):
            return True
        seen = db.scalar(sa.select(PREPARED.c.version).where(PREPARED.c.part == _QUEUE))
        return seen != importlib.metadata.version(_QUEUE_PACKAGE)

    file = database.folder / QUEUE_FILE if database.folder is not None else None
    return (file is not None and not file.exists()) or database.read(work)


def _prepare_queue(database: Database) -> None:
    from dbos import DBOS
    from dbos import error as queue_error

    try:
        DBOS.migrate(database.queue_url, schema=QUEUE_SCHEMA)
    except (sa.exc.SQLAlchemyError, queue_error.DBOSException, OSError) as error:
        raise database.explained(error) from None
    version = importlib.metadata.version(_QUEUE_PACKAGE)
    insert = (sqlite if database.is_sqlite else postgresql).insert(PREPARED)
    row = insert.values(part=_QUEUE, version=version)
    kept = row.on_conflict_do_update(index_elements=["part"], set_={"version": version})
    database.write(lambda db: db.execute(kept))


@contextlib.contextmanager
def _alone(database: Database) -> Iterator[None]:
    """One preparation at a time: by a lock of PostgreSQL's, or by a file beside the embedded database."""
    if database.folder is None:
        with _advisory_lock(database):
            yield
        return
    try:
        lock = FileLock(database.folder / "prepare.lock").acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        raise _held(database) from None
    except OSError as error:
        raise database.explained(error) from None
    with lock:
        yield


@contextlib.contextmanager
def _advisory_lock(database: Database) -> Iterator[None]:
    # A connection of its own: the lock belongs to the session, and ends with it whatever happens.
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(database.engine.connect())
            connection.execution_options(isolation_level="AUTOCOMMIT")
            _wait_for_lock(database, connection)
        except sa.exc.SQLAlchemyError as error:
            raise database.explained(error) from None
        try:
            yield
        finally:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK_NUMBER)))


def _wait_for_lock(database: Database, connection: sa.Connection) -> None:
    # Asked again and again: a statement that waits for the lock would hold a snapshot, for which the
    # queue's `create index concurrently` waits in turn.
    until = database.clock.monotonic() + _LOCK_SECONDS
    while not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK_NUMBER))):
        if database.clock.monotonic() >= until:
            raise _held(database)
        database.clock.sleep(_LOCK_PAUSE)


def _held(database: Database) -> StorageError:
    return StorageError(
        f"{database.place} is being prepared by another process, for more than {_LOCK_SECONDS} s.",
        hint="End that process.",
    )
