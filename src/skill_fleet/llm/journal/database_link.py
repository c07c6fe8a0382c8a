"""A connection to a database that comes back: made again where it broke, and waited for when it is away."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy as sa

from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.database_engine import AWAY

T = TypeVar("T")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


class Link:
    """One connection for all threads of a process, one of them at a time; statements commit themselves.

    Args:
        engine: Where it leads.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: sa.Connection | None = None

    @contextlib.contextmanager
    def held(self, *, whole: bool = False) -> Iterator[sa.Connection]:
        """The connection, for this thread alone.

        Args:
            whole: Whether all that is done with it is committed together, at the end.
        """
        with self._lock:
            connection = self._connection
            if connection is None:
                connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                self._connection = connection
            try:
                if whole:
                    connection.exec_driver_sql("begin")
                yield connection
                if whole:
                    connection.exec_driver_sql("commit")
            except BaseException:
                # Whatever state it is in: the next one to come gets a new one, and the server rolls back.
                self._drop()
                raise

    def close(self) -> None:
        """Give the connection back."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sa.exc.DBAPIError):
                connection.invalidate()
            connection.close()


class Patience:
    """Waits out a database that is away: a restart, a failover.

    Args:
        clock: What is waited on.
        seconds: How long. Whoever comes when that was in vain does not wait again until it is back.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._given_up = False

    def with_(self, work: Callable[[], T]) -> T:
        """Do something, again and again while the database is away. It must bear being repeated.

        Raises:
            StorageError: It is away for too long, or something else is wrong with it.
        """
        until: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                done = work()
            except StorageError as error:
                if error.code != AWAY:
                    raise
                now = self._clock.monotonic()
                if until is None and not self._given_up:
                    until = now + self._seconds
                    continue  # an old connection may be broken, and a new one not
                self._given_up = self._given_up or until is None or now >= until
                if self._given_up:
                    raise
                self._clock.sleep(pause)
                pause = min(_LONGEST_PAUSE, pause * 2)
            else:
                self._given_up = False
                return done
