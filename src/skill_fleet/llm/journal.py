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
import os
import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import StorageError

_LEDGER_VERSION = 1
_RESPONSES_VERSION = 1
_MEMO_ENTRIES = 20_000
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
create index if not exists ledger.attempt_run on attempt (run, state);
"""


@dataclass(frozen=True)
class Usage:
    """What one answer cost. None is unknown, which is not zero."""

    input_tokens: int | None
    output_tokens: int | None
    usd: float | None


@dataclass(frozen=True)
class Spent:
    """What a run has spent so far, every attempt counted, also those whose outcome is not known.

    Attributes:
        calls: Attempts made.
        settled: Attempts that ended with a stored answer.
        failed: Attempts that ended without one.
        lost: Attempts whose process died before the answer was stored: counted as spent.
        input_tokens: Known input tokens.
        output_tokens: Known output tokens.
        usd: Known dollars.
        usd_unknown_calls: Attempts that may have cost something nobody knows.
        by_phase: Attempts by phase.
        by_model: Attempts by model.
        bound_tokens: What counts against a cap on tokens: tokens used where known, else the worst case that
            was reserved for the attempt. A resumed run's account starts here.
        bound_usd: The same in dollars.
    """

    calls: int
    settled: int
    failed: int
    lost: int
    input_tokens: int
    output_tokens: int
    usd: float
    usd_unknown_calls: int
    by_phase: dict[str, int]
    by_model: dict[str, int]
    bound_tokens: int = 0
    bound_usd: float = 0.0


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
        self._memo: OrderedDict[str, str] = OrderedDict()
        with self._translated():
            self._db = self._connected()

    def _connected(self) -> sqlite3.Connection:
        for path in (self.ledger, self.responses):
            path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.responses, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        run = db.execute
        run(f"pragma busy_timeout={_BUSY_MILLISECONDS}")
        run("attach database ? as ledger", (str(self.ledger),))
        for schema in ("main", "ledger"):
            self._write_ahead(db, schema)
            run(f"pragma {schema}.synchronous=normal")
        for schema, version, statements in (
            ("main", _RESPONSES_VERSION, _RESPONSES_SCHEMA),
            ("ledger", _LEDGER_VERSION, _LEDGER_SCHEMA),
        ):
            found = run(f"pragma {schema}.user_version").fetchone()[0]
            if found > version:
                path = self.responses if schema == "main" else self.ledger
                raise StorageError(
                    f"{path} was written by a newer skill-fleet (format {found}).",
                    hint="Upgrade skill-fleet.",
                )
            db.executescript(statements)
            if found < version:
                run(f"pragma {schema}.user_version={version}")

    def _write_ahead(self, db: sqlite3.Connection, schema: str) -> None:
        # SQLite does not wait for a lock here, so processes that open a new journal together would fail.
        until = self._clock.monotonic() + _BUSY_MILLISECONDS / 1000
        while True:
            try:
                db.execute(f"pragma {schema}.journal_mode=wal")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or self._clock.monotonic() >= until:
                    raise
                self._clock.sleep(0.01)

    def close(self) -> None:
        """Close the files. No call may be under way."""
        with self._lock:
            self._db.close()

    def lookup(self, key: str) -> str | None:
        """The stored answer of a key as JSON, or None."""
        with self._lock:
            body = self._memo.get(key)
            if body is not None:
                self._memo.move_to_end(key)
                return body
            with self._translated():
                row = self._db.execute("select body from main.response where key=?", (key,)).fetchone()
            if row is None:
                return None
            self._remember(key, row[0])
            return str(row[0])

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
        attempt = os.urandom(12).hex()
        with self._lock, self._translated():
            if not self.responses.exists():
                # People delete the cache by hand: an answer written to the unlinked file would be lost.
                self._db.close()
                self._db = self._connected()
            self._db.execute(
                "insert into ledger.attempt"
                " (attempt, run, key, phase, model, state, reserved_tokens, reserved_usd, started_at)"
                " values (?,?,?,?,?,'open',?,?,?)",
                (attempt, run, key, phase, model, reserved_tokens, reserved_usd, self._clock.now()),
            )
        return attempt

    def settle(self, attempt: str, key: str, model: str, body: str, usage: Usage) -> str:
        """Store an answer and close its attempt, in one transaction.

        Returns:
            The stored answer: the first one, where two processes paid for the same call.
        """
        now = self._clock.now()
        tokens = (usage.input_tokens, usage.output_tokens, usage.usd)
        with self._lock, self._translated(), self._transaction():
            self._db.execute(
                "insert or ignore into main.response values (?,?,?,?,?,?,?,?)",
                (key, body, attempt, model, *tokens, now),
            )
            self._db.execute(
                "update ledger.attempt"
                " set state='settled', input_tokens=?, output_tokens=?, usd=?, ended_at=?"
                " where attempt=?",
                (*tokens, now, attempt),
            )
            stored = str(self._db.execute("select body from main.response where key=?", (key,)).fetchone()[0])
        # Only once it is committed: an answer that could not be written is not an answer that is there.
        with self._lock:
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
        with self._lock, self._translated():
            self._db.execute(
                "update ledger.attempt set state='failed', reason=?, possibly_billed=?,"
                " input_tokens=?, output_tokens=?, usd=?, ended_at=? where attempt=?",
                (reason, int(billed), *tokens, self._clock.now(), attempt),
            )

    def reconcile(self, run: str) -> int:
        """Close the attempts that an ended process of this run left open.

        An attempt whose answer is stored was settled by a commit that was cut in half: it is settled. Any
        other may have been billed and its answer is gone: it is `lost` and counts as spent.

        Returns:
            How many attempts were lost.
        """
        with self._lock, self._translated(), self._transaction():
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
            rows = self._db.execute(
                "select state, phase, model, state='failed' and not possibly_billed, count(*),"
                " sum(input_tokens), sum(output_tokens), sum(usd), sum(usd is null),"
                " sum(coalesce(input_tokens+output_tokens, reserved_tokens)),"
                " sum(coalesce(usd, reserved_usd)) from ledger.attempt where run=? group by 1, 2, 3, 4",
                (run,),
            ).fetchall()
        by_state: Counter[str] = Counter()
        by_phase: Counter[str] = Counter()
        by_model: Counter[str] = Counter()
        for state, phase, model, _, count, *_ in rows:
            by_state[state] += count
            by_phase[phase] += count
            by_model[model] += count
        # What never reached a provider, or was turned away at its door, cost nothing, and that is known.
        charged = [row for row in rows if not row[3]]
        return Spent(
            calls=by_state.total(),
            settled=by_state["settled"],
            failed=by_state["failed"],
            lost=by_state["lost"] + by_state["open"],
            input_tokens=sum(row[5] or 0 for row in rows),
            output_tokens=sum(row[6] or 0 for row in rows),
            usd=sum(row[7] or 0.0 for row in rows),
            usd_unknown_calls=sum(row[8] for row in charged),
            by_phase=dict(sorted(by_phase.items())),
            by_model=dict(sorted(by_model.items())),
            bound_tokens=sum(row[9] or 0 for row in charged),
            bound_usd=sum(row[10] or 0.0 for row in charged),
        )

    def stats(self) -> dict[str, int]:
        """How many responses are stored, and their size in bytes."""
        with self._lock, self._translated():
            count, size = self._db.execute(
                "select count(*), coalesce(sum(length(body)),0) from main.response"
            ).fetchone()
            attempts = self._db.execute("select count(*) from ledger.attempt").fetchone()[0]
        return {"responses": count, "bytes": size, "attempts": attempts}

    def clear_responses(self) -> int:
        """Forget every stored answer; the ledger stays.

        Returns:
            How many answers were removed.
        """
        with self._lock, self._translated():
            removed = self._db.execute("delete from main.response").rowcount
            self._memo.clear()
            self._db.execute("vacuum main")
        return int(removed)

    def _remember(self, key: str, body: str) -> None:
        self._memo[key] = body
        if len(self._memo) > _MEMO_ENTRIES:
            self._memo.popitem(last=False)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
            self._db.execute("commit")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("rollback")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"The journal ({self.ledger}, {self.responses}) cannot be used: {error}.",
                hint=_hint(str(error)),
            ) from error
        except OSError as error:
            raise StorageError(f"The journal {self.ledger} cannot be written: {error.strerror}.") from error


def _hint(message: str) -> str:
    if "full" in message:
        return "Free some disk space and resume the run: nothing that was paid is lost."
    if "malformed" in message or "not a database" in message:
        return "Move the damaged file aside; a new one is made. Answers in it are lost, the other file stays."
    if "locked" in message:
        return "Another process holds the journal; end it or wait."
    return ""
