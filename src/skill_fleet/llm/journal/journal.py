"""The journal: every answer that was paid for, once, and a ledger line for every attempt.

Two SQLite files, because people delete caches by hand:

* the **ledger** (`.skill-fleet/ledger.sqlite`): one row an attempt, written before the call (`open`) and
  closed after it (`settled`, `failed`, or `lost` when the process died in between);
* the **responses** (`DSPY_CACHEDIR/responses.sqlite`): one row a key, the answer as JSON.

A settlement writes both in one transaction over the attached files. SQLite commits a transaction over
several WAL files one file after the other, so a process killed inside the commit can leave the response
without its settlement. The response carries the attempt's id, and `reconcile` settles such attempts: an
answer that is there is never paid again, and never forgotten in the bill.

Plain `sqlite3` on purpose: this is the hot path of every model call. JSON only, nothing executable.
"""

import contextlib
import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.files import explained, file_at, opened
from skill_fleet.llm.journal.group_commit import GroupCommit
from skill_fleet.llm.journal.ledger import CLEAR_PAID_ONLY_BY, PAID_ONLY_BY, SPENT
from skill_fleet.llm.journal.memo import Memo
from skill_fleet.llm.journal.spent import PhaseSpent, Spent, Usage, added_up

__all__ = ["Journal", "PhaseSpent", "Spent", "Usage"]

_MEMO_ENTRIES = 20_000
_MEMO_BYTES = 64 * 2**20


class Journal:
    """Responses and ledger, shared by all threads of a process and by all processes of a workspace.

    Args:
        ledger: The ledger's file.
        responses: The responses' file.
        clock: For the times in the rows.

    Raises:
        StorageError: A file cannot be opened, is damaged, or was written by a newer version.
    """

    def __init__(self, ledger: Path, responses: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.ledger = ledger
        self.responses = responses
        self._clock = clock
        self._lock = threading.Lock()
        self._memo: Memo[str, str] = Memo(_MEMO_ENTRIES, _MEMO_BYTES)
        self._commits = GroupCommit(self._transaction, self._explained)
        # Attempts of a process follow one another, so that the index of their ids grows at its end.
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count()
        self._paid_before: set[str] = set()
        with self._translated():
            self._db = opened(ledger, responses, clock)
            self._file = file_at(responses)

    @property
    def place(self) -> str:
        """Where the answers are, in words."""
        return str(self.responses)

    def close(self) -> None:
        """Close the files, after everything that is being written. No call may be under way."""
        with contextlib.suppress(StorageError):
            self._commits.run(lambda: None)
        with self._lock:
            self._db.close()

    def lookup(self, key: str) -> str | None:
        """The stored answer of a key as JSON, or None."""
        body = self._memo.get(key)
        if body is not None:
            return body
        with self._lock:
            try:
                row = self._db.execute(
                    "select body, attempt from main.response where key=?", (key,)
                ).fetchone()
            except sqlite3.Error as error:
                raise self._explained(error) from error
            if row is None:
                return None
            body = str(row[0])
            if not row[1].startswith(self._prefix):
                self._paid_before.add(row[1])
            # With the lock held, or `clear_responses` of another thread could come in between.
            self._remember(key, body)
        return body

    def recall(self, key: str) -> str | None:
        """The answer of a key if this process stored or read it lately, without a look at the files."""
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
        """Write down that a call is about to be made.

        Args:
            run: What it is booked on.
            key: The request's key.
            phase: The request's phase.
            model: The model asked.
            reserved_tokens: The most it can use: what counts when its outcome stays unknown.
            reserved_usd: The most it can cost.

        Returns:
            The attempt's id.
        """
        attempt = f"{self._prefix}{next(self._numbers):08x}"
        now = self._clock.now()

        def intent() -> None:
            self._db.execute(
                "insert into ledger.attempt"
                " (attempt, run, key, phase, model, state, reserved_tokens, reserved_usd, started_at)"
                " values (?,?,?,?,?,'open',?,?,?) on conflict (attempt) do nothing",
                (attempt, run, key, phase, model, reserved_tokens, reserved_usd, now),
            )

        self._commits.run(intent)
        return attempt

    def settle(self, attempt: str, key: str, model: str, body: str, usage: Usage) -> str:
        """Store an answer and close its attempt, in one transaction.

        Returns:
            The stored answer: the first one, where two processes paid for the same call.
        """
        now = self._clock.now()
        tokens = (usage.input_tokens, usage.output_tokens, usage.usd)

        def answer() -> str:
            added = self._db.execute(
                "insert or ignore into main.response values (?,?,?,?,?,?,?,?)",
                (key, body, attempt, model, *tokens, now),
            ).rowcount
            self._db.execute(
                "update ledger.attempt"
                " set state='settled', input_tokens=?, output_tokens=?, usd=?, ended_at=?"
                " where attempt=?",
                (*tokens, now, attempt),
            )
            if added:
                return body
            row = self._db.execute("select body from main.response where key=?", (key,)).fetchone()
            return str(row[0])

        stored = self._commits.run(answer, heavy=True)
        # Only once it is committed: an answer that could not be written is not an answer that is there.
        self._remember(key, stored)
        return stored

    def fail(self, attempt: str, reason: str, *, usage: Usage | None = None, billed: bool = False) -> None:
        """Close an attempt that gave no usable answer.

        Args:
            attempt: Its id.
            reason: A short stable code.
            usage: What it cost, where the provider said.
            billed: Whether it may have been billed all the same: it failed after it was sent.
        """
        tokens = (usage.input_tokens, usage.output_tokens, usage.usd) if usage else (None, None, None)
        now = self._clock.now()

        def failure() -> None:
            # An interrupt may come after the outcome was noted and before its caller knew.
            self._db.execute(
                "update ledger.attempt set state='failed', reason=?, possibly_billed=?,"
                " input_tokens=?, output_tokens=?, usd=?, ended_at=?"
                " where attempt=? and state in ('open', 'lost')",
                (reason, int(billed), *tokens, now, attempt),
            )

        self._commits.run(failure)

    def reconcile(self, run: str) -> int:
        """Close the attempts that an ended process of this run left open.

        An attempt whose answer is stored was settled by a commit that was cut in half: it is settled. Any
        other may have been billed and its answer is gone: it is `lost` and counts as spent.

        Returns:
            How many attempts were lost.
        """
        with self._translated(), self._transaction(answers=True, works=1):
            self._db.execute(
                "update ledger.attempt set state='settled', ended_at=?,"
                " (input_tokens, output_tokens, usd) = (select input_tokens, output_tokens, usd"
                "   from main.response r where r.attempt = ledger.attempt.attempt)"
                " where run=? and state='open' and attempt in (select attempt from main.response)",
                (self._clock.now(), run),
            )
            lost = self._db.execute(
                "update ledger.attempt set state='lost', possibly_billed=1, ended_at=?"
                " where run=? and state='open'",
                (self._clock.now(), run),
            )
            return int(lost.rowcount)

    def spent(self, run: str) -> Spent:
        """What a run has spent so far."""
        with self._lock, self._translated():
            rows = self._db.execute(SPENT, (run,)).fetchall()
        return added_up(rows)

    def reused(self, run: str) -> int:
        """How many different answers were given here that had been paid for, and not by this run.

        Args:
            run: The one all calls of this object are of: what it stored itself is not looked at.
        """
        with self._lock, self._translated():
            rows = self._db.execute("select attempt from ledger.attempt where run=?", (run,)).fetchall()
        return len(self._paid_before - {attempt for (attempt,) in rows})

    def stats(self) -> dict[str, int]:
        """How many responses are stored, and their size in bytes."""
        with self._lock, self._translated():
            count, size = self._db.execute(
                "select count(*), coalesce(sum(length(body)),0) from main.response"
            ).fetchone()
            attempts = self._db.execute("select count(*) from ledger.attempt").fetchone()[0]
        return {"responses": count, "bytes": size, "attempts": attempts}

    def paid_only_by(self, runs: Collection[str]) -> dict[str, int]:
        """How many responses, and their size in bytes, only these runs made calls for."""
        given = {"runs": json.dumps(list(runs))}
        with self._lock, self._translated():
            count, size = self._db.execute(PAID_ONLY_BY, given).fetchone()
        return {"responses": count, "bytes": size}

    def clear_responses(self, only_by: Collection[str] | None = None) -> int:
        """Forget stored answers; the ledger stays.

        Args:
            only_by: Only answers that no other run made a call for; None is all.

        Returns:
            How many answers were removed.
        """
        given = {"runs": json.dumps(list(only_by or ()))}
        with self._lock, self._translated():
            if only_by is None:
                removed = self._db.execute("delete from main.response").rowcount
            else:
                removed = self._db.execute(CLEAR_PAID_ONLY_BY, given).rowcount
            self._memo.clear()
            self._db.execute("vacuum main")
        return int(removed)

    def _remember(self, key: str, body: str) -> None:
        self._memo.put(key, body, len(key) + len(body))

    @contextlib.contextmanager
    def _transaction(self, answers: bool, works: int) -> Iterator[None]:  # noqa: FBT001 - for `GroupCommit`
        with self._lock:
            if works == 1 and not answers:
                yield  # one statement, which commits itself
                return
            if answers:
                self._follow_the_file()
            # Two files are locked in one order, before either is written; the ledger alone, when it is.
            self._db.execute("begin immediate" if answers else "begin")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("rollback")
                raise

    def _follow_the_file(self) -> None:
        # People delete the cache by hand: an answer written to the unlinked file would be lost. Another
        # process may have made it anew since, so it is not enough that there is one.
        if self._file is not None and file_at(self.responses) == self._file:
            return
        # Where this fails the old one stays open, and the next answer tries again.
        made, file = opened(self.ledger, self.responses, self._clock), file_at(self.responses)
        before, self._db, self._file = self._db, made, file
        before.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> Exception:
        return explained(error, self.ledger, self.responses)
