"""Events of a job on their way to the store: each arrives once and in order, whatever connection breaks."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.rows import clean, decode, encode

if TYPE_CHECKING:
    from skill_fleet.jobs.records import JobEvent, Lease
    from skill_fleet.jobs.store import JobStore

_AT_ONCE = 500


class Outbox:
    """What one holder of a job has to tell. Events are put in by any thread, and sent by one at a time.

    Args:
        store: Where they go.
        lease: What makes the job its own.
    """

    def __init__(self, store: "JobStore", lease: "Lease") -> None:
        self._store, self._lease = store, lease
        self._lock = threading.Lock()
        self._events: list[tuple[str, Mapping[str, Any]]] = []
        self._last: int | None = None
        self._doubtful = 0

    def put(self, kind: str, data: Mapping[str, Any]) -> None:
        """One more event."""
        with self._lock:
            self._events.append((kind, data))

    def send(self) -> bool:
        """Send what is there; whether anything was.

        Raises:
            LeaseLost: Somebody else has the job.
            StorageError: The store does not answer; what may not have arrived is kept.
        """
        sent = self._doubtful > 0
        if self._doubtful:
            self._settle()
        with self._lock:
            events = list(self._events)
        if not events:
            return sent
        try:
            self._last = self._store.append(self._lease, events)
        except StorageError:
            # The connection may have broken after the commit was on its way.
            self._doubtful = len(events)
            raise
        self._drop(len(events))
        return True

    def _settle(self) -> None:
        """Find out whether the last batch has arrived: it did so as a whole, or not at all."""
        with self._lock:
            kind, data = self._events[0]
        first = (clean(kind), decode(encode(data)))
        found = next((event for event in self._since() if (event.kind, event.data) == first), None)
        if found is not None:
            self._last = found.number + self._doubtful - 1
            self._drop(self._doubtful)
        self._doubtful = 0

    def _since(self) -> "list[JobEvent]":
        """All events after the last one that this holder knows of; its first is that it took the job up."""
        found: list[JobEvent] = []
        after = self._last or 0
        while more := self._store.events(self._lease.job_id, after, _AT_ONCE):
            found += more
            after = more[-1].number
        if self._last is not None:
            return found
        mine = ("taken_up", self._lease.fence)
        began = [place for place, event in enumerate(found) if (event.kind, event.data.get("fence")) == mine]
        return found[began[-1] :] if began else found

    def _drop(self, number: int) -> None:
        with self._lock:
            del self._events[:number]
