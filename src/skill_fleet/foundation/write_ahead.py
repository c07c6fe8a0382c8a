"""SQLite's write-ahead log, asked for by several processes that open one new file together."""

import sqlite3

from skill_fleet.foundation.clock import Clock

_PAUSE_SECONDS = 0.01


def write_ahead(db: sqlite3.Connection, *, seconds: float, clock: Clock, schema: str = "main") -> None:
    """Give a file a write-ahead log, which stays with it; asking again takes no lock.

    Args:
        db: The connection, with no transaction under way.
        seconds: For how long others that do the same are waited for. SQLite's own busy timeout does not wait
            for this lock: of processes that open a new file at one moment some would fail.
        clock: For this waiting.
        schema: Which of the connection's files.

    Raises:
        sqlite3.Error: The file stays locked, or cannot be written.
    """
    until = clock.monotonic() + seconds
    while True:
        try:
            db.execute(f"pragma {schema}.journal_mode=wal")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() >= until:
                raise
            clock.sleep(_PAUSE_SECONDS)
