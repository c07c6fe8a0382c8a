"""What the engines of a run share: journal, calls under way, retries, traffic, what is known of models."""

import asyncio
import concurrent.futures
import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from skill_fleet.config.settings import Calls, ModelSpec
from skill_fleet.foundation.clock import Clock
from skill_fleet.llm.budget import Gate
from skill_fleet.llm.calls.acquaintance import Acquaintance
from skill_fleet.llm.calls.patience import Patience
from skill_fleet.llm.calls.readers import Readers
from skill_fleet.llm.journal.memo import Memo
from skill_fleet.llm.journal.store import JournalStore

_GLANCE = 0.2
# For so long a reader who does not ask for the next piece of his stream is waited for.
_READER_SECONDS = 5.0
_MEMO_ENTRIES = 10_000
_MEMO_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Retry:
    """How often and how long a passing failure is waited out.

    Attributes:
        attempts: Attempts at one call, the first included.
        base: Seconds before the second attempt; doubled for each further one.
        longest: Most seconds between two attempts, also when the provider asks for more.
        outage: Seconds from the first time on that a call may be turned away for its rate without using up
            attempts.
    """

    attempts: int = 6
    base: float = 1.0
    longest: float = 60.0
    outage: float = 120.0

    @classmethod
    def of(cls, calls: Calls) -> Self:
        """As the configuration says."""
        return cls(calls.attempts, calls.first_pause, calls.longest_pause, calls.outage_seconds)

    def pause(self, attempt: int, asked: float | None = None, key: str = "") -> float:
        """Seconds before the attempt after this one (counted from 1).

        Calls that failed together must not come back together, so each waits between half of the pause and
        one and a half of it. How much is drawn from the call and the attempt: again in a replay.

        Args:
            attempt: Which failed.
            asked: Seconds the provider asked for: waited out as they are, up to `longest`. None and nonsense
                (zero, negative, not a number) are no answer.
            key: Of the call.
        """
        if asked is not None and asked > 0:
            return min(self.longest, asked)
        wanted = min(self.longest, self.base * 2.0 ** min(attempt - 1, 60))
        return min(self.longest, wanted * (0.5 + _drawn(key, attempt)))


def _drawn(key: str, attempt: int) -> float:
    """A number in [0, 1) that belongs to this attempt at this call."""
    return int.from_bytes(hashlib.sha256(f"{key}/{attempt}".encode()).digest()[:7]) / 2.0**56


@dataclass
class Traffic:
    """What the calls of a process did so far; for progress and results. Guarded by its lock."""

    made: int = 0
    from_journal: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, what: Literal["made", "from_journal"], number: int = 1) -> None:
        """So many more."""
        with self.lock:
            setattr(self, what, getattr(self, what) + number)


@dataclass
class Flight:
    """A call under way.

    Attributes:
        key: Of the call.
        thread: Who makes it.
        landing: What those wait for who want an equal one; None as long as nobody does.
        read_at: When the reader of a stream got his last piece, on the clock, while the next is for him to
            ask for; None while the call itself is under way.
    """

    key: str
    thread: int = field(default_factory=threading.get_ident)
    landing: concurrent.futures.Future[None] | None = None
    read_at: float | None = None

    def wanted(self) -> concurrent.futures.Future[None]:
        """What another waits for. Call with the line's lock held."""
        if self.landing is None:
            self.landing = concurrent.futures.Future()
            # Running from the start: a waiting task that is cancelled must not cancel it for the others.
            self.landing.set_running_or_notify_cancel()
        return self.landing


Equal = tuple[Flight, concurrent.futures.Future[None]]
"""An equal call under way, and what to wait for."""


@dataclass(frozen=True)
class Line:
    """What the engines of a run share: journal, calls under way, traffic, memory of whole calls.

    Args:
        journal: Answers and ledger.
        run: What the attempts are booked on.
        clock: For pauses.
        retry: For passing failures.
        max_failed_share: Of the examples of a measurement, before it is given up.
    """

    journal: JournalStore
    run: str
    clock: Clock
    retry: Retry = Retry()
    max_failed_share: float = Calls().max_failed_share
    traffic: Traffic = field(default_factory=Traffic)
    flights: dict[str, Flight] = field(default_factory=dict)
    memo: Memo[bytes, Any] = field(default_factory=lambda: Memo(_MEMO_ENTRIES, _MEMO_BYTES), repr=False)
    models: dict[tuple[str, str | None], Acquaintance] = field(default_factory=dict, repr=False)
    readers: Readers = field(default_factory=Readers, repr=False)
    # Re-entrant: the garbage collector may end a task in the thread that has it, and with it a call.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    patience: Patience = field(default_factory=Patience, repr=False)
    put_off: deque[Callable[[], None]] = field(default_factory=deque, repr=False)

    def close(self) -> None:
        """Book what nobody read to its end, and close the journal. No call may be under way."""
        self.catch_up()
        self.readers.close()
        self.journal.close()

    def catch_up(self) -> None:
        """Do what was put off because a finalizer may wait for no lock: to book calls that were forgotten."""
        while self.put_off:
            try:
                work = self.put_off.popleft()
            except IndexError:
                return  # another thread was first
            work()

    def acquaintance(self, spec: ModelSpec) -> Acquaintance:
        """What is known of a model, whatever phase asks it."""
        with self.lock:
            return self.models.setdefault((spec.model, spec.api_base), Acquaintance())

    def claim(self, flight: Flight) -> Equal | None:
        """Begin a call, which has to `land` however it ends, also where an interrupt ends the claim.

        Returns:
            The equal call that is under way; None where the caller has to make it.
        """
        with self.lock:
            other = self.flights.setdefault(flight.key, flight)
            return None if other is flight else (other, other.wanted())

    def joined(self, equal: Equal, gate: Gate) -> bool:
        """Wait until an equal call is over, or no call may be made any more.

        Args:
            equal: The call.
            gate: Of who waits.

        Returns:
            False: There may never be an end. It is a stream that its reader has left alone; or a task of this
            very thread makes it, and cannot go on while we wait for it.
        """
        flight, landing = equal
        if flight.thread == threading.get_ident():
            return False
        while not self.left_alone(flight):
            if self._over(flight, gate):
                return True
            with contextlib.suppress(TimeoutError):
                landing.result(_GLANCE)
                return True
        return False

    async def awaited(self, equal: Equal, gate: Gate) -> bool:
        """The same, awaited: tasks of this thread go on."""
        flight, landing = equal
        wrapped = asyncio.wrap_future(landing)
        while not self.left_alone(flight):
            if self._over(flight, gate) or (await asyncio.wait({wrapped}, timeout=_GLANCE))[0]:
                return True
        return False

    def _over(self, flight: Flight, gate: Gate) -> bool:
        """Whether there is nothing to wait for; of an end that an interrupt cut off nobody is told."""
        return gate.closed is not None or self.flights.get(flight.key) is not flight

    def left_alone(self, flight: Flight) -> bool:
        """Whether it is a stream whose reader has not asked for the next piece for a while."""
        read_at = flight.read_at
        return read_at is not None and self.clock.monotonic() - read_at > _READER_SECONDS

    def land(self, flight: Flight) -> None:
        """A call is over, well or not: those who wait look again. Nothing, where it was not claimed."""
        with self.lock:
            if self.flights.get(flight.key) is not flight:
                return
            del self.flights[flight.key]
        if flight.landing is not None:
            flight.landing.set_result(None)
