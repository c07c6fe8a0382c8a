"""The journal in PostgreSQL: the same promises as of the files, for many machines, and with a fence.

A call's intent is written only while this process holds its job: the statement that notes it locks the
lease's row for sharing and looks at its number, so that a process which lost its job makes no further paid
call, and one that takes a job over knows of every call that was made before. What was paid is stored by
whoever paid it, also late: the first answer of a key stays, and an attempt that was called lost is settled.

What many threads have to write is committed together (`GroupCommit`). A database that is away for a moment is
waited for. JSON text only, nothing executable.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.journal import database_statements as statements
from skill_fleet.llm.journal.database_engine import (
    AWAY,
    LOOK,
    RESUME,
    check_revision,
    explained,
    passing,
    place_of,
)
from skill_fleet.llm.journal.database_link import Link, Patience
from skill_fleet.llm.journal.database_statements import values
from skill_fleet.llm.journal.database_tables import RESPONSE
from skill_fleet.llm.journal.group_commit import GroupCommit
from skill_fleet.llm.journal.memo import Memo
from skill_fleet.llm.journal.spent import Spent, Usage, added_up
from skill_fleet.llm.journal.store import Held

T = TypeVar("T")

_MEMO_ENTRIES = 20_000
_MEMO_BYTES = 64 * 2**20
# A restart of the database takes seconds.
_PATIENCE = 20.0


class DatabaseJournal:
    """Responses and ledger in PostgreSQL, shared by all threads of a process and by all machines.

    Args:
        engine: To a database that was prepared; it is this object's own from now on.
        lease: The right to a job; None where nobody can take anything over.
        clock: For the times in the rows, and for waiting.
        patience: Seconds to wait for a database that is away.

    Raises:
        StorageError: The database cannot be used, or has no tables, or those of another version.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        lease: Held | None = None,
        clock: Clock = SYSTEM_CLOCK,
        patience: float = _PATIENCE,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._lease = lease
        self._memo: Memo[str, str] = Memo(_MEMO_ENTRIES, _MEMO_BYTES)
        # Two, so that who reads does not wait for a commit.
        self._writing, self._reading = Link(engine), Link(engine)
        self._connection: sa.Connection  # the writing one, inside a transaction
        self._commits = GroupCommit(self._transaction, self._explained, _of_all)
        self._patience = Patience(clock, patience)
        self._at_once = Patience(clock, 0.0)
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count()
        self._paid_before: set[str] = set()
        self._hint = LOOK
        self._require_tables(waiting=lease is not None)

    @property
    def place(self) -> str:
        """Where the answers are, in words; without a password."""
        return place_of(self._engine)

    def close(self) -> None:
        """Close the connections, after everything that is being written. No call may be under way."""
        with contextlib.suppress(StorageError):
            self._commits.run(lambda: None)
        self._writing.close()
        self._reading.close()
        self._engine.dispose()

    def lookup(self, key: str) -> str | None:
        """The stored answer of a key as JSON, or None."""
        body = self._memo.get(key)
        if body is not None:
            return body

        def look(connection: sa.Connection) -> str | None:
            row = connection.execute(statements.LOOKUP, values(key=key)).one_or_none()
            if row is None:
                return None
            if not row.attempt.startswith(self._prefix):
                self._paid_before.add(row.attempt)
            # While it is held, or `clear_responses` of another thread could come in between.
            self._remember(key, row.body)
            return str(row.body)

        return self._read(look)

    def recall(self, key: str) -> str | None:
        """The answer of a key if this process stored or read it lately, without a look at the database."""
        return self._memo.get(key)

    def open_attempt(
        self,
        run: str,
        key: str,
        phase: str,
        model: str,
        *,
        reserved_tokens: int | None = None,
        reserved_usd: float | None = None,
    ) -> str:
        """Write down that a call is about to be made, and return the attempt's id; see `JournalStore`.

        Raises:
            LeaseLost: Another process has taken the job up: the call may not be made, and nothing is noted.
            StorageError: The database cannot be written.
        """
        attempt = f"{self._prefix}{next(self._numbers):08x}"
        row = values(
            attempt=attempt,
            run=run,
            key=key,
            phase=phase,
            model=model,
            state="open",
            reserved_tokens=reserved_tokens,
            reserved_usd=reserved_usd,
            started_at=self._clock.now(),
        )

        def intent(connection: sa.Connection) -> bool:
            if self._lease is None:
                connection.execute(statements.INTENT, row)
                return True
            fenced = {**row, **_of(self._lease)}
            return bool(connection.execute(statements.FENCED_INTENT, fenced).scalar_one())

        if not self._write(intent):
            raise self._lost()
        return attempt

    def settle(self, attempt: str, key: str, model: str, body: str, usage: Usage) -> str:
        """Store an answer and close its attempt, in one statement, whoever has the job now.

        Returns:
            The stored answer: the first one, where two processes paid for the same call.
        """
        row = values(
            key=key, body=body, attempt=attempt, model=model, **_columns(usage), stored_at=self._clock.now()
        )

        def answer(connection: sa.Connection) -> str:
            if connection.execute(statements.SETTLE, row).scalar_one():
                return body
            # The first one may have been committed after this statement began: only the next one sees it.
            return str(connection.execute(statements.LOOKUP, values(key=key)).one().body)

        stored = self._write(answer, heavy=True)
        # Only once it is committed: an answer that could not be written is not an answer that is there.
        self._remember(key, stored)
        return stored

    def fail(self, attempt: str, reason: str, *, usage: Usage | None = None, billed: bool = False) -> None:
        """Close an attempt that gave no usable answer, whoever has the job now; see `Journal.fail`."""
        row = values(
            attempt=attempt,
            reason=reason,
            possibly_billed=billed,
            **_columns(usage or Usage(None, None, None)),
            ended_at=self._clock.now(),
        )
        self._write(lambda connection: connection.execute(statements.FAIL, row).rowcount, heavy=True)

    def reconcile(self, run: str) -> int:
        """Close the attempts that an ended process of this run left open: they may have been billed.

        Returns:
            How many were lost.

        Raises:
            LeaseLost: Another process has taken the job up.
        """
        row = values(run=run, ended_at=self._clock.now())
        lease = self._lease
        if lease is None:
            return self._write(lambda connection: connection.execute(statements.LOSE, row).rowcount)
        found = self._write(
            lambda connection: connection.execute(statements.FENCED_LOSE, {**row, **_of(lease)}).one()
        )
        if not found.held:
            raise self._lost()
        return int(found.lost)

    def spent(self, run: str) -> Spent:
        """What a run has spent so far."""
        return added_up(self._read(lambda db: db.execute(statements.SPENT, values(run=run)).all()))

    def reused(self, run: str) -> int:
        """How many different answers were given here that had been paid for, and not by this run."""
        rows = self._read(lambda db: db.execute(statements.ATTEMPTS_OF, values(run=run)).scalars().all())
        return len(self._paid_before.difference(rows))

    def stats(self) -> dict[str, int]:
        """How many responses are stored, their size in bytes, and how many attempts were made."""
        row = self._read(lambda db: db.execute(statements.STATS).one())
        return dict(zip(("responses", "bytes", "attempts"), map(int, row), strict=True))

    def paid_only_by(self, runs: Collection[str]) -> dict[str, int]:
        """How many responses, and their size in bytes, only these runs made calls for."""
        given = values(runs=list(runs))
        row = self._read(lambda db: db.execute(statements.PAID_ONLY_BY, given).one())
        return dict(zip(("responses", "bytes"), map(int, row), strict=True))

    def clear_responses(self, only_by: Collection[str] | None = None) -> int:
        """Forget stored answers; the ledger stays.

        Args:
            only_by: Only answers that no other run made a call for; None is all.

        Returns:
            How many answers were removed.
        """

        def clear(connection: sa.Connection) -> int:
            if only_by is None:
                removed = connection.execute(sa.delete(RESPONSE)).rowcount
            else:
                given = values(runs=list(only_by))
                removed = connection.execute(statements.CLEAR_PAID_ONLY_BY, given).rowcount
            self._memo.clear()
            return removed

        return self._read(clear)

    def _remember(self, key: str, body: str) -> None:
        self._memo.put(key, body, len(key) + len(body))

    def _write(self, work: Callable[[sa.Connection], T], *, heavy: bool = False) -> T:
        return self._patience.with_(lambda: self._commits.run(lambda: work(self._connection), heavy=heavy))

    def _read(self, work: Callable[[sa.Connection], T], *, waiting: bool = True) -> T:
        def once() -> T:
            try:
                with self._reading.held() as connection:
                    return work(connection)
            except DBAPIError as error:
                raise self._explained(error) from error

        return (self._patience if waiting else self._at_once).with_(once)

    @contextlib.contextmanager
    def _transaction(self, _answers: bool, works: int) -> Iterator[None]:  # noqa: FBT001 - for `GroupCommit`
        with self._writing.held(whole=works > 1) as self._connection:
            yield

    def _require_tables(self, *, waiting: bool) -> None:
        # A process of the service waits: its worker saw the database a moment ago. A user is told at once.
        try:
            self._read(lambda db: check_revision(db, self._engine), waiting=waiting)
        except StorageError as error:
            if error.code != AWAY:
                self.close()
            raise
        self._hint = RESUME

    def _explained(self, error: Exception) -> Exception:
        return explained(error, self._engine, hint=self._hint)

    def _lost(self) -> LeaseLost:
        job = self._lease.job_id if self._lease else ""
        return LeaseLost(f"The job {job} was taken up by another process: this one makes no further call.")


def _of_all(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and passing(error)


def _columns(usage: Usage) -> Mapping[str, Any]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "usd": usage.usd}


def _of(lease: Held) -> Mapping[str, Any]:
    return values(job_id=lease.job_id, fence=lease.fence)
