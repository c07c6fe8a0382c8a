"""Who did what: keys made and revoked, jobs asked for, started and ended, keys refused."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock, iso
from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.rows import clean, decode, encode
from skill_fleet.jobs.tables import AUDIT, database_now

LOCAL = "local"
"""Who did it where no key was needed."""
REFUSED = "key_refused"
_REFUSALS = 10
_REFUSALS_SECONDS = 60.0
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class AuditLine:
    """One thing that somebody did.

    Attributes:
        number: Rises with every line; not without gaps.
        at: ISO 8601, UTC, on the database's clock.
        key_id: The key with which it was done, or `local`.
        action: What was done, for example `job_started`.
        subject: To what: the name of a job, of a key.
        data: What belongs to it.
    """

    number: int
    at: str
    key_id: str
    action: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)


Lines = list[AuditLine]  # inside the class, `list` is its method


class Audit:
    """The audit in a database.

    Args:
        database: Where it is.
        clock: For how often refusals are written.
    """

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self.database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._window = -_REFUSALS_SECONDS
        self._written = 0
        self._unwritten = 0

    def write(
        self, key_id: str | None, action: str, subject: str = "", data: Mapping[str, Any] | None = None
    ) -> None:
        """Add a line.

        Args:
            key_id: The key with which it was done; None where no key was needed.
            action: What was done.
            subject: To what.
            data: What belongs to it, a JSON object.
        """
        row = {"key_id": clean(key_id or LOCAL), "action": clean(action), "subject": clean(subject)}
        statement = AUDIT.insert().values(at=database_now(), data=encode(dict(data or {})), **row)
        self.database.write(lambda db: db.execute(statement))

    def refused(self, address: str, why: str) -> bool:
        """Add a line about a key that was refused: at most ten a minute, so that nobody can fill the disk.

        The next line that is written says how many were not.

        Args:
            address: From where it was presented.
            why: In which way it was wrong.

        Returns:
            Whether the line was written.
        """
        with self._lock:
            now = self._clock.monotonic()
            if now - self._window >= _REFUSALS_SECONDS:
                self._window, self._written = now, 0
            if self._written >= _REFUSALS:
                self._unwritten += 1
                return False
            self._written += 1
            unwritten, self._unwritten = self._unwritten, 0
        more = {"unwritten_before": unwritten} if unwritten else {}
        self.write(None, REFUSED, address[:100], {"why": why[:200], **more})
        return True

    def list(self, *, before: int | None = None, limit: int = 100) -> Lines:
        """Lines, newest first.

        Args:
            before: Only lines with a lower number.
            limit: At most so many.
        """
        columns = (AUDIT.c.number, AUDIT.c.at, AUDIT.c.key_id, AUDIT.c.action, AUDIT.c.subject, AUDIT.c.data)
        newest = sa.select(*columns).order_by(AUDIT.c.number.desc()).limit(limit)
        if before is not None:
            newest = newest.where(AUDIT.c.number < before)
        rows = self.database.read(lambda db: db.execute(newest).all())
        return [
            AuditLine(number, iso(at), key_id, action, subject, decode(data))
            for number, at, key_id, action, subject, data in rows
        ]

    def expire(self, older_than_days: float) -> int:
        """Forget old lines.

        Returns:
            How many.
        """
        old = AUDIT.c.at < database_now() - older_than_days * _DAY_SECONDS
        return self.database.write(lambda db: db.execute(sa.delete(AUDIT).where(old)).rowcount)
