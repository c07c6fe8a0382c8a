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


def journal(context: Context) -> Iterator[Check]:
    """The files of the journal, or the database that holds it."""
    if context.loaded.database is not None:
        yield _shared(context)
        return
    for name, path in (("ledger", context.workspace.ledger), ("responses", context.workspace.responses)):
        if path.exists():
            yield _file(name, path, context.clock)


def _file(name: str, path: Path, clock: Clock) -> Check:
    until = clock.monotonic() + _SECONDS
    late = False

    def over() -> bool:
        nonlocal late
        late = clock.monotonic() > until
        return late

    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as db:
            db.set_progress_handler(over, _STEPS)
            verdict = str(db.execute("pragma quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        verdict = "ok" if late else str(error)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    if verdict == "ok":
        sound = "no damage in the part that was read" if late else "sound"
        return Check(name, "ok", f"{path}: {sound}, {size}.")
    return Check(name, "error", f"{path} is damaged: {verdict}.", "Move it aside; a new one is made.")


def _shared(context: Context) -> Check:
    try:
        with closing(open_journal(context.loaded, context.clock)) as opened:
            stats, place = opened.stats(), opened.place
    except SkillFleetError as error:
        return Check("journal", "error", error.message, error.hint)
    return Check("journal", "ok", f"{place}: {stats['attempts']} attempts, {stats['responses']} answers.")
