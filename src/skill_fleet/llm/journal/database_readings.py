"""How often sealed tests were read, in PostgreSQL: one count for all workers and workspaces."""

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import LeaseLost
from skill_fleet.llm.journal.database_engine import LOOK, RESUME, check_revision, explained
from skill_fleet.llm.journal.database_link import Link, Patience
from skill_fleet.llm.journal.database_tables import LEASE, TEST_READING
from skill_fleet.llm.journal.store import Held

T = TypeVar("T")

_PATIENCE = 20.0
_LAST = sa.select(sa.func.coalesce(sa.func.max(TEST_READING.c.number), 0))


class DatabaseReadings:
    """The readings of all workers.

    Args:
        engine: To a database that was prepared.
        clock: For waiting while it is away.
        lease: The right to the job that reads; None where nobody can take anything over.
    """

    def __init__(self, engine: sa.Engine, clock: Clock = SYSTEM_CLOCK, *, lease: Held | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._lease = lease

    def count(self, test: str, reader: str) -> int:
        """Note a reading, and say the how-manieth it is; see `Readings`."""
        last = _LAST.where(TEST_READING.c.test == test)
        row = sa.select(sa.literal(test), sa.literal(reader), last.scalar_subquery() + 1)
        noted = pg.insert(TEST_READING).from_select(["test", "reader", "number"], row)
        known = sa.select(TEST_READING.c.number).where(
            TEST_READING.c.test == test, TEST_READING.c.reader == reader
        )

        def note(connection: sa.Connection) -> int:
            self._check_lease(connection)
            # One after the other, or two new readers would get one number.
            connection.execute(sa.text("lock table skill_fleet.test_reading in share row exclusive mode"))
            connection.execute(noted.on_conflict_do_nothing(index_elements=["test", "reader"]))
            return int(connection.execute(known).scalar_one())

        # A run that was paid for ends here: worth waiting. Before one begins, the user is told at once.
        return self._done(note, whole=True, patience=_PATIENCE)

    def next(self, test: str) -> int:
        """The number of the next new reading; see `Readings`."""
        last = _LAST.where(TEST_READING.c.test == test)

        def look(connection: sa.Connection) -> int:
            check_revision(connection, self._engine)
            return int(connection.execute(last).scalar_one()) + 1

        return self._done(look)

    def _check_lease(self, connection: sa.Connection) -> None:
        """Nothing, where the lease is held; it is until the transaction ends.

        Raises:
            LeaseLost: It is held no more.
        """
        lease = self._lease
        if lease is None:
            return
        ours = (LEASE.c.job_id == lease.job_id, LEASE.c.fence == lease.fence)
        # Whoever takes the job up changes this row: it waits for our commit, or we see what it did.
        held = sa.select(LEASE.c.fence).where(*ours).with_for_update(read=True)
        if connection.execute(held).first() is None:
            # Taken up by another process, handed back, cancelled, removed: the lease alone does not say.
            raise LeaseLost(f"Job {lease.job_id} is not this process's any more: it counts no reading.")

    def _done(self, work: Callable[[sa.Connection], T], *, whole: bool = False, patience: float = 0.0) -> T:
        link = Link(self._engine)

        def once() -> T:
            try:
                with link.held(whole=whole) as connection:
                    return work(connection)
            except DBAPIError as error:
                raise explained(error, self._engine, hint=RESUME if patience else LOOK) from error

        try:
            return Patience(self._clock, patience).with_(once)
        finally:
            link.close()
