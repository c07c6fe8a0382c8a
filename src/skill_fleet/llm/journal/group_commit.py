"""Group commit: what many threads have to write is committed together, by one of them.

A commit costs about the same for one row as for thirty. Whoever comes while nobody writes leads: it takes all
that is waiting, writes it in one transaction and wakes its owners; the first of those who came in the
meantime leads next. There is no thread behind it, so nothing is left to stop, and a thread that is alone pays
for its own transaction and for nothing else.

DeWitt et al., "Implementation techniques for main memory database systems", SIGMOD 1984, section 5.2.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

T = TypeVar("T")

# How often one who waits looks whether it was forgotten, in seconds: an interrupt may end a leader anywhere.
_GLANCE = 0.2


class _Item:
    """One caller's work, and what came of it."""

    __slots__ = ("asleep", "done", "error", "gone", "heavy", "value", "work")

    def __init__(self, work: Callable[[], Any], *, heavy: bool) -> None:
        self.work = work
        self.heavy = heavy
        self.value: Any = None
        self.error: Exception | None = None
        self.done = False
        self.gone = False  # its owner waits and leads no more
        self.asleep = threading.Lock()
        self.asleep.acquire()

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.done = True

    def wake(self) -> None:
        try:  # noqa: SIM105 - on the hot path
            self.asleep.release()
        except RuntimeError:
            pass  # it is awake


class GroupCommit:
    """A queue of work in front of one transaction.

    Args:
        transaction: Entering begins one, leaving commits it, leaving by an exception rolls it back. Never
            entered by two threads at once. Told whether any work is heavy, and how many they are.
        explain: Makes of what went wrong a new error for each caller that it concerns.
        of_all: Whether an error that one work met awaits the others too: the connection broke.
    """

    def __init__(
        self,
        transaction: Callable[[bool, int], AbstractContextManager[None]],
        explain: Callable[[Exception], Exception],
        of_all: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._transaction = transaction
        self._explain = explain
        self._of_all = of_all
        self._lock = threading.Lock()
        self._queue: list[_Item] = []
        self._leader: _Item | None = None

    def run(self, work: Callable[[], T], *, heavy: bool = False) -> T:
        """Do the work inside a transaction and return when that is committed, by whatever thread.

        Args:
            work: Only reads and writes the database, and may be repeated: when the work of another caller
                fails or an interrupt comes, the transaction is rolled back and made again.
            heavy: Whether it needs the heavier kind of transaction: it brings what must not be lost. Where an
                error awaits all, these are tried once more without the others.

        Returns:
            What the work returned.

        Raises:
            What `explain` makes of an error of this work, or of the transaction that it was part of.
        """
        item = _Item(work, heavy=heavy)
        try:
            with self._lock:
                self._queue.append(item)
            while not item.done:
                self._lead_or_wait(item)
        finally:
            item.gone = True
            if not item.done:
                self._withdraw(item)
        if item.error is not None:
            raise self._explain(item.error) from item.error
        value: T = item.value
        return value

    def _lead_or_wait(self, item: _Item) -> None:
        with self._lock:
            if self._leader is None or self._leader.gone:
                self._leader = item
                if not item.done and item not in self._queue:  # an interrupt ended its leader half-way
                    self._queue.append(item)
            leading = self._leader is item
        if not leading:
            item.asleep.acquire(timeout=_GLANCE)
            return
        try:
            if not item.done:
                self._lead(item)
        finally:
            with self._lock:
                self._leader = None
                following = self._queue[0] if self._queue else None
            if following is not None:
                following.wake()

    def _lead(self, own: _Item) -> None:
        with self._lock:
            batch, self._queue = self._queue, []
        try:
            self._write(batch)
        finally:
            left = [item for item in batch if not item.done]
            if left:  # an interrupt of this very thread: whoever leads next does their work
                with self._lock:
                    self._queue[:0] = left
            for item in batch[1:] if batch[:1] == [own] else batch:
                item.wake()

    def _write(self, batch: list[_Item]) -> None:
        working = False
        try:
            with self._transaction(any(item.heavy for item in batch), len(batch)):
                working = True
                for item in batch:
                    item.value = item.work()
                working = False
        except Exception as error:  # noqa: BLE001 - it is handed to the callers that it concerns
            if not working or len(batch) == 1:
                for item in batch:
                    item.end(error)
            elif self._of_all(error):
                self._write_heavy(batch, error)
            else:
                # One of them failed: alone, each meets its own error and nobody else's.
                for item in batch:
                    self._write([item])
        else:
            for item in batch:
                item.end(None)

    def _write_heavy(self, batch: list[_Item], error: Exception) -> None:
        # Each alone would meet it again, one time-out after the other. But it may be a lock that only the
        # others have to wait for, and then it must not hold up those who have an answer in hand.
        heavy = [item for item in batch if item.heavy]
        for item in batch:
            if not item.heavy or len(heavy) == len(batch):
                item.end(error)
        if 0 < len(heavy) < len(batch):
            self._write(heavy)

    def _withdraw(self, item: _Item) -> None:
        with self._lock:
            if item in self._queue:
                self._queue.remove(item)
