"""The journal's two SQLite files: how they are made, opened together, and explained when they fail."""

import copy
import os
import sqlite3
from pathlib import Path

from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.foundation.write_ahead import write_ahead
from skill_fleet.llm.journal.store import KEPT

_LEDGER_VERSION = 1
_RESPONSES_VERSION = 1
_BUSY_MILLISECONDS = 30_000

_RESPONSES_SCHEMA = """
create table if not exists main.response (
  key text primary key, body text not null, attempt text not null, model text not null,
  input_tokens integer, output_tokens integer, usd real, stored_at real not null
) without rowid;
"""
_LEDGER_SCHEMA = """
create table if not exists ledger.attempt (
  id integer primary key, attempt text not null unique, run text not null, key text not null,
  phase text not null, model text not null,
  state text not null check (state in ('open','settled','failed','lost')),
  input_tokens integer, output_tokens integer, usd real, reason text,
  reserved_tokens integer, reserved_usd real,
  possibly_billed integer not null default 0, started_at real not null, ended_at real
);
create index if not exists ledger.attempt_of_run on attempt (run);
drop index if exists ledger.attempt_run;
"""


def opened(ledger: Path, responses: Path, clock: Clock) -> sqlite3.Connection:
    """One connection to both files, made where they are missing; statements commit themselves.

    The responses are the schema `main`, the ledger is `ledger`. Both write ahead with `synchronous=normal`:
    a commit survives the process at once, and the power at the next checkpoint.

    Raises:
        sqlite3.Error, OSError: A file cannot be opened, or is damaged.
        StorageError: A file was written by a newer version.
    """
    for path in (ledger, responses):
        path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(responses, check_same_thread=False, isolation_level=None)
    try:
        _prepare(db, ledger, responses, clock)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, ledger: Path, responses: Path, clock: Clock) -> None:
    run = db.execute
    run(f"pragma busy_timeout={_BUSY_MILLISECONDS}")
    run("attach database ? as ledger", (str(ledger),))
    # A ledger line is short, and a commit writes whole pages. Only a new file takes it.
    run("pragma ledger.page_size=2048")
    for schema in ("main", "ledger"):
        write_ahead(db, seconds=_BUSY_MILLISECONDS / 1000, clock=clock, schema=schema)
        run(f"pragma {schema}.synchronous=normal")
    for schema, version, statements in (
        ("main", _RESPONSES_VERSION, _RESPONSES_SCHEMA),
        ("ledger", _LEDGER_VERSION, _LEDGER_SCHEMA),
    ):
        found = run(f"pragma {schema}.user_version").fetchone()[0]
        if found > version:
            path = responses if schema == "main" else ledger
            raise StorageError(
                f"{path} was written by a newer skill-fleet (format {found}).",
                hint="Upgrade skill-fleet.",
            )
        db.executescript(statements)
        if found < version:
            run(f"pragma {schema}.user_version={version}")


def file_at(path: Path) -> tuple[int, int] | None:
    """Which file is at a path, by device and number; None where there is none.

    The number of one that is open is given to no other, also after it was removed.

    Raises:
        OSError: It cannot be found out.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - on the hot path
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def explained(error: Exception, ledger: Path, responses: Path) -> Exception:
    """A new error that says what a failure of the files means to the user; any other is only copied."""
    if isinstance(error, sqlite3.Error):
        said = str(error)
        return StorageError(
            f"The journal ({ledger}, {responses}) cannot be used: {said.rstrip('.')}.", hint=_hint(said)
        )
    if isinstance(error, OSError):
        place = error.filename or ledger
        return StorageError(f"The journal cannot be written: {place}: {error.strerror}.")
    return copy.copy(error)


def _hint(message: str) -> str:
    if "full" in message:
        return f"Free some disk space and resume the run: {KEPT}."
    if "malformed" in message or "not a database" in message:
        return "Move the damaged file aside; a new one is made. Answers in it are lost, the other file stays."
    if "locked" in message:
        return "Another process holds the journal; end it or wait."
    return ""
