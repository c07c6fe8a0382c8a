"""A job in the process that does it: what it tells the store while the job is its own, and when it must stop.

Everything it writes names its lease. Once somebody else has taken the job up, nothing more is written, and
the process ends.
"""

import contextlib
import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import LeaseLost, SkillFleetError, StorageError
from skill_fleet.jobs.child_files import ChangedFiles, restore
from skill_fleet.jobs.outbox import Outbox

if TYPE_CHECKING:
    from skill_fleet.jobs.file_store import FileStore
    from skill_fleet.jobs.records import JobEvent, Lease, Spending, Status, Wanted
    from skill_fleet.jobs.store import JobStore

Reason = Literal["signal", "orphaned", "wanted", "lost"]
"""Why to stop: it was told to, its worker died, somebody wants the job paused or cancelled, or it is lost."""

CONCLUDED = 0
"""Exit code: the store has the end of the job."""
INTERRUPTED = 75
"""Exit code: stopped when it was told to, and able to go on."""
LOST = 76
"""Exit code: somebody else has taken the job up."""

_BEAT = 0.5
_SPENT_EVERY = 2.0
_CALLED_EVERY = 20.0
_LAST_SECONDS = 1.8
_PATIENCE = 60.0
_PAUSE = 0.5


class Child:
    """The child's side of one job. Safe between threads.

    Args:
        store: Of jobs.
        files: Of their files.
        lease: What makes the job its own.
        leave: Ends the process at once, with an exit code; for when it does not end by itself.
        clock: For waiting.
    """

    def __init__(
        self,
        store: "JobStore",
        files: "FileStore",
        lease: "Lease",
        *,
        leave: Callable[[int], Any] = os._exit,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.lease = lease
        self.wanted: Wanted | None = None
        self.reason: Reason | None = None
        self._store, self._files = store, files
        self._leave, self._clock = leave, clock
        self._changed: ChangedFiles | None = None
        self._on_stop: list[Callable[[], None]] = []
        self._state = threading.RLock()
        self._writing = threading.RLock()
        self._outbox = Outbox(store, lease)
        self._shown: dict[str, Any] = {}
        self._spending: Callable[[], Spending] | None = None
        self._spent_at = -math.inf
        self._unsaved = False
        self._over = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether somebody else holds the job now."""
        return self.reason == "lost"

    def start(self) -> None:
        """Look every half second whether the job is still its own and what is wanted of it."""
        threading.Thread(target=self._watch, name="child", daemon=True).start()

    def on_stop(self, do: Callable[[], None]) -> None:
        """What to do when the job is to stop; done at once where that was said before."""
        with self._state:
            self._on_stop.append(do)
            said = self.reason is not None
        if said:
            do()

    def stop(self, reason: Reason) -> None:
        """The job is to stop. A process without a worker or without its job is gone two seconds later."""
        with self._state:
            first, news = self.reason is None, reason != self.reason
            if first or reason == "lost":
                self.reason = reason
            todo = list(self._on_stop) if first else []
        for do in todo:
            do()
        if news and reason in {"orphaned", "lost"}:
            code = LOST if reason == "lost" else INTERRUPTED
            last = threading.Timer(_LAST_SECONDS, self._leave, (code,))
            last.daemon = True
            last.start()

    def spend(self, spending: "Callable[[], Spending] | None") -> None:
        """Where to ask what the job has spent, over all its attempts; None: nowhere any more."""
        with self._writing:
            self._spending = spending

    def ask(self) -> "Wanted | None":
        """What is wanted of the job now; where the store does not answer, what it said last.

        Raises:
            LeaseLost: Somebody else has the job.
        """
        with contextlib.suppress(StorageError):
            self.write()
        return self.wanted

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Something that happened, kept in the job's stream; the files that changed go with it.

        A store that does not answer gets it later, before anything that comes after it.

        Raises:
            LeaseLost: Somebody else has the job.
        """
        self._outbox.put(kind, data)
        with contextlib.suppress(StorageError):
            self.write()

    def show(self, progress: float, message: str) -> None:
        """How far it is; the store is told at the next beat."""
        with self._state:
            self._shown |= {"progress": progress, "message": message}

    def keep(self, folder: Path) -> None:
        """Keep the files of a folder in the store from now on."""
        self._changed = ChangedFiles(folder)

    def restore(self, folder: Path) -> None:
        """Put the files that the store has into a folder.

        Raises:
            StorageError: A file cannot be written, or the store does not answer.
        """
        restore(folder, self._files.load(self.lease.job_id))

    def request(self) -> dict[str, Any]:
        """What the work is given.

        Raises:
            StorageError: The store does not answer.
        """
        return self._store.request_of(self.lease.job_id)

    def told(self) -> "list[JobEvent]":
        """All events that the store has of the job."""
        found: list[JobEvent] = []
        while more := self._store.events(self.lease.job_id, found[-1].number if found else 0, 500):
            found += more
        return found

    def write(self, *, last: bool = False) -> None:
        """Tell the store all it was not told yet, and hear from it what is wanted.

        Args:
            last: What was spent is to be exact; else it is as of the last two seconds.

        Raises:
            LeaseLost: Somebody else has the job.
            StorageError: The store does not answer; what was to be written is kept.
        """
        with self._writing:
            if self._over.is_set():
                return
            try:
                self._write(last=last)
            except LeaseLost:
                self.stop("lost")
                raise

    def conclude(
        self,
        status: "Status",
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        message: str = "",
    ) -> None:
        """The end of the job. A store that does not answer is waited for.

        Raises:
            LeaseLost: Somebody else has the job.
            StorageError: The store does not answer for a minute.
        """
        until = self._clock.monotonic() + _PATIENCE
        while True:
            try:
                with self._writing:
                    self.write(last=True)
                    self._store.conclude(
                        self.lease,
                        status,
                        result=result,
                        error=error,
                        message=message,
                        spending=self._spent(last=True),
                    )
                    self._over.set()
                return
            except LeaseLost:
                self.stop("lost")
                raise
            except StorageError:
                if self._clock.monotonic() > until:
                    raise
                self._clock.sleep(_PAUSE)

    def close(self, partial: Mapping[str, Any] | None = None) -> None:
        """Say what is left to say and look no more; the job is not over.

        Args:
            partial: The result so far.

        Raises:
            LeaseLost: Somebody else has the job.
            StorageError: The store does not answer.
        """
        try:
            with self._writing:
                self.write(last=True)
                if partial is not None:
                    self._store.progress(self.lease, partial=partial)
        finally:
            self._over.set()

    def _write(self, *, last: bool) -> None:
        with self._state:
            shown = dict(self._shown)
        if self._outbox.send():
            self._unsaved = True
        if self._unsaved:
            self._save()
        # Also of a job that shows nothing: that it makes calls is how its worker sees that it does not hang.
        spent = self._spent(_SPENT_EVERY if shown else _CALLED_EVERY, last=last)
        wanted = self._store.progress(self.lease, **shown, spending=spent)
        with self._state:
            if self._shown == shown:
                self._shown = {}
        if wanted is not None:
            self.wanted = wanted
            self.stop("wanted")

    def _spent(self, every: float = 0.0, *, last: bool) -> "Spending | None":
        """What was spent; looked up every so many seconds, for it takes a look at every attempt."""
        now = self._clock.monotonic()
        if self._spending is None or not (last or now >= self._spent_at + every):
            return None
        found = self._spending()
        self._spent_at = now
        return found

    def _save(self) -> None:
        changed = {} if self._changed is None else self._changed.take()
        try:
            if changed:
                self._files.save(self.lease, changed)
        except SkillFleetError:
            if self._changed is not None:
                self._changed.forget()
            raise
        self._unsaved = False

    def _watch(self) -> None:
        while not self._over.wait(_BEAT):
            try:
                self.write()
            except LeaseLost:
                return
            except StorageError:
                continue  # it may be back at the next beat
