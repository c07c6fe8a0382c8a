"""The journal: whether its files are sound, or its database is there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check

_SECONDS = 0.5
"""How long a file is read through; what is large is looked at in part."""
_STEPS = 50_000
_WAIT = 1.0
_PRIMARY = 0xFF
"""The bits of SQLite's codes that say what kind it is; those above say more about it."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_LATER = "Another process has it; look again when that is over."
_ALLOW = "Look as the user it belongs to, or let this one read it and write to its folder."


def journal(context: Context) -> Iterator[Check]:
    """The files of the journal, or the database that holds it."""
    if context.loaded.database is not None:
        yield _shared(context)
        return
    for name, path in (("ledger", context.workspace.ledger), ("responses", context.workspace.responses)):
        try:
            if path.exists():
                yield _file(name, path, context.clock)
        except OSError as error:
            yield Check(name, "error", f"{path} cannot be looked at: {error.strerror}.", _ALLOW)


def _file(name: str, path: Path, clock: Clock) -> Check:
    until = clock.monotonic() + _SECONDS
    late = False

    def over() -> bool:
        nonlocal late
        late = clock.monotonic() > until
        return late

    size = f"{path.stat().st_size / 1e6:.1f} MB"
    try:
        # As a URI of its own: `#`, `?` and `%` in a path would name another file.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT)) as db:
            db.set_progress_handler(over, _STEPS)
            verdict = str(db.execute("pragma quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if not late:
            return _damaged(name, path, str(error)) if _is_damage(error) else _unread(name, path, error)
        verdict = "ok"
    if verdict != "ok":
        return _damaged(name, path, verdict)
    sound = "no damage in the part that was read" if late else "sound"
    return Check(name, "ok", f"{path}: {sound}, {size}.")


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that a file is damaged, rather than locked, or not to be read by this user."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _DAMAGE


def _damaged(name: str, path: Path, verdict: str) -> Check:
    """The files beside it belong to it: alone they would damage the new one."""
    kept = " Keep it: what was paid stands in it." if name == "ledger" else ""
    hint = f"Move it aside, with its -wal and -shm; a new one is made.{kept}"
    return Check(name, "error", f"{path} is damaged: {verdict}.", hint)


def _unread(name: str, path: Path, error: sqlite3.Error) -> Check:
    """It says nothing about the file itself, which nobody should move."""
    busy = getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _BUSY
    said = f"{path} cannot be looked at: {error}."
    return Check(name, "warning", said, _LATER) if busy else Check(name, "error", said, _ALLOW)


def _shared(context: Context) -> Check:
    try:
        with closing(open_journal(context.loaded, context.clock)) as opened:
            stats, place = opened.stats(), opened.place
    except SkillFleetError as error:
        return Check("journal", "error", error.message, error.hint)
    return Check("journal", "ok", f"{place}: {stats['attempts']} attempts, {stats['responses']} answers.")
