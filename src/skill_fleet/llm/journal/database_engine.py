"""The way to PostgreSQL: the engine of an address, and what its failures mean to the user."""

import copy
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, Pool

from skill_fleet.foundation.errors import ConfigError, StorageError
from skill_fleet.foundation.redaction import without_secrets
from skill_fleet.llm.journal.database_tables import REVISION, VERSION
from skill_fleet.llm.journal.store import KEPT

_CONNECT_SECONDS = 5
# A peer that is gone without a word is noticed after so many milliseconds, not after the system's hours.
_SILENCE_MILLISECONDS = 15_000
# A process that is stopped, or whose machine is cut off, inside a transaction holds its locks: whoever takes
# its job up would wait for ever. The server ends such a session; what was not committed is written again.
_STOPPED_MILLISECONDS = 3_000
# A lock that a session of somebody else's holds is waited for so long, and not without end and a word. All
# transactions of ours take a moment. An address, a user or a database that sets it has its own way.
_LOCK_MILLISECONDS = 15_000
# SQLSTATE of who waited too long: for a lock (55P03), or for what the server allows a statement (57014).
_HELD_UP = ("55P03", "57014")
# SQLSTATE of what passes: connection lost or refused (08), shutdown and start (57P), too many (53300),
# a standby that is not yet the primary (25006), a session that idled in a transaction (25P03), two
# transactions in each other's way (40).
_PASSING = ("08", "57P01", "57P02", "57P03", "53300", "25006", "25P03", "40001", "40P01", *_HELD_UP)


LOOK = "Start the database, or look at SKILL_FLEET_DATABASE_URL."
"""What to do about a database that does not answer before anything was begun."""
RESUME = f"When it answers again, resume the run: {KEPT}."
"""What to do about a database that goes away under a run."""
_UNLOCK = "Look at pg_stat_activity there: a session that holds a lock is in the way."
# What the address says wrongly; libpq finds it before it looks for a server.
_MALFORMED = (
    "bad value for",
    "invalid connection option",
    "invalid integer value",
    "invalid port number",
    "invalid sslmode",
    'missing "="',
    "invalid uri",
)

AWAY = "unavailable"
"""Code of a `StorageError`: the database does not answer now, and may do so in a moment."""


def postgres_engine(url: str, *, poolclass: type[Pool] = NullPool) -> sa.Engine:
    """The engine of a PostgreSQL address (`postgresql://…` or `postgres://…`); nothing is opened yet.

    Args:
        url: The address; what it says of time-outs stands.
        poolclass: Where connections go that are not in use.

    Raises:
        ConfigError: It is no address; it is not repeated, since it may hold a password.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "The address of the database cannot be read.", hint="postgresql://USER:PASSWORD@HOST:PORT/NAME"
        ) from None
    asked = parsed.query
    given = {
        "connect_timeout": _CONNECT_SECONDS,
        "tcp_user_timeout": _SILENCE_MILLISECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "application_name": "skill-fleet",
    }
    engine = sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        poolclass=poolclass,
        connect_args={name: value for name, value in given.items() if name not in asked},
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _on_connect)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    # A statement and no option of the connection: those are refused by poolers in between.
    connection.execute(
        f"set idle_in_transaction_session_timeout = {_STOPPED_MILLISECONDS};"
        f" select set_config('lock_timeout', '{_LOCK_MILLISECONDS}', false)"
        " where current_setting('lock_timeout') = '0'"
    )
    connection.commit()


def place_of(engine: sa.Engine) -> str:
    """Where a database is, for people: host, port and name, without user and password."""
    url = engine.url
    host = url.host or str(url.query.get("host", "")) or "the local socket"
    port = f":{url.port}" if url.port else ""
    return f"PostgreSQL {host}{port}/{url.database or ''}"


def explained(error: Exception, engine: sa.Engine, *, hint: str = LOOK) -> Exception:
    """A new error that says what a failure of the database means to the user; any other is only copied.

    Args:
        error: What was raised.
        engine: Of the database.
        hint: What to do where it does not answer.

    Returns:
        A `StorageError` with the code `unavailable` where the same may go well in a moment.
    """
    if not isinstance(error, DBAPIError):
        return copy.copy(error)
    said = _said(error, engine)
    if _state(error) in _HELD_UP:
        return StorageError(
            f"The database ({place_of(engine)}) lets us wait for too long: {said}.",
            hint=f"{_UNLOCK} {RESUME}" if hint == RESUME else _UNLOCK,
            code=AWAY,
        )
    if passing(error):
        return StorageError(
            f"The database ({place_of(engine)}) does not answer: {said}.",
            hint=hint,
            code=AWAY,
        )
    if _state(error) in {"42P01", "3F000"}:  # no such table, no such schema
        return no_tables(engine)
    return StorageError(f"The database ({place_of(engine)}) cannot be used: {said}.", hint=_hint(error))


def check_revision(connection: sa.Connection, engine: sa.Engine) -> None:
    """Nothing, where the tables are those that this code works with.

    Raises:
        DBAPIError: There are none, or they cannot be read.
        StorageError: They are older or newer.
    """
    found = connection.scalar(sa.select(VERSION.c.version_num))
    if found is None:
        raise no_tables(engine)
    if found != REVISION:
        raise wrong_revision(f"The database ({place_of(engine)})", found)


def wrong_revision(place: str, found: str) -> StorageError:
    """What to say of a database whose tables are of another revision than this code's."""
    if found.isdigit() and found < REVISION:
        return StorageError(
            f"{place} has tables of an older skill-fleet (revision {found}).",
            hint="Start `skill-fleet serve` or `skill-fleet worker` once: it brings them up to date.",
            code="old_tables",
        )
    return StorageError(
        f"{place} was prepared by a newer skill-fleet (revision {found} of its tables).",
        hint="Upgrade skill-fleet.",
        code="new_tables",
    )


def no_tables(engine: sa.Engine) -> StorageError:
    """What to say of a database that nobody has prepared."""
    return StorageError(
        f"The database ({place_of(engine)}) has no tables of skill-fleet.",
        hint="Start `skill-fleet serve` or `skill-fleet worker` once: it makes them.",
        code="no_tables",
    )


def passing(error: DBAPIError) -> bool:
    """Whether the same may go well in a moment."""
    state = _state(error)
    if state:
        return state.startswith(_PASSING)
    # A connection that breaks or is refused has no code; a wrong password or name has none either.
    said = str(error.orig).lower()
    refused = (
        "authentication failed",
        "does not exist",
        "no password supplied",
        "no pg_hba.conf entry",
        *_MALFORMED,
    )
    of_connection = isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError))
    return of_connection and not any(words in said for words in refused)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _said(error: DBAPIError, engine: sa.Engine) -> str:
    """The first line of what the database said."""
    lines = str(error.orig).strip().splitlines() or [type(error.orig).__name__]
    said = lines[0].strip().rstrip(".")
    return without_secrets(said, [engine.url.render_as_string(hide_password=False)])


def _hint(error: DBAPIError) -> str:
    state = _state(error)
    if state == "53100":
        return f"Free some disk space there and resume the run: {KEPT}."
    if any(words in str(error.orig).lower() for words in _MALFORMED):
        return "Check SKILL_FLEET_DATABASE_URL: postgresql://USER:PASSWORD@HOST:PORT/NAME"
    if state.startswith("42501"):
        return "The database's user may not do that: grant it the schema skill_fleet."
    return ""
