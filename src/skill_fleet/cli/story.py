"""What is told of a job that is watched: each thing once, in the order in which it happened."""

import re
import threading
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.progress import Watcher
from skill_fleet.cli.show_jobs import said
from skill_fleet.optimization.records.events import Event

if TYPE_CHECKING:
    from skill_fleet.client import records
    from skill_fleet.client.records import Job

_TURNS = frozenset({
    "queued", "taken_up", "handed_back", "crashed", "worker_died", "interrupted_from_outside", "status",
})  # fmt: skip
_IDENTITY = ("fold", "round", "program", "code", "message")
_ENDED = frozenset({"Done.", "Stopped.", "Paused.", "Cancelled."})
_COUNTED = re.compile(r",? [\d,]+(?: of [\d,]+)? \w+\.$")
_TO_THE_MILLISECOND = len("2026-01-01T00:00:00.000")


class Story:
    """Tells a watcher of a job's events, and between them how far it is. Safe between two threads.

    A worker that takes a job up again goes through what was done, with the answers of the journal: what it
    finds there is not told again. How a job stands is looked at beside its events, which come a moment later,
    so it is held back until the events before it must be there.

    Args:
        watcher: Who is told.
        quiet: Say nothing of the job as such.

    Attributes:
        worker: Who took the job up last.
        last: Number of the last event.
    """

    def __init__(self, watcher: Watcher, *, quiet: bool) -> None:
        self.worker: str | None = None
        self.last = 0
        self._watcher = watcher
        self._quiet = quiet
        self._lock = threading.Lock()
        self._at_work = False
        self._held: Job | None = None
        self._told: set[tuple[str, ...]] = set()

    def say(self, text: str) -> None:
        """A line about the job as such."""
        if not self._quiet:
            self._watcher.say(text)

    def event(self, event: "records.Event") -> None:
        """The next thing that happened."""
        with self._lock:
            self.last = event.number
            if self._held is not None and _moment(self._held.updated_at) < _moment(event.at):
                self._flush()
            if event.kind in _TURNS:
                self._at_work = event.kind == "taken_up"
                self.worker = event.data.get("worker") if self._at_work else self.worker
            text = said(event.kind, event.data)
            if text is None and self._is_new(event):
                self._watcher(Event(event.number, event.at, event.kind, dict(event.data)))
            elif text is not None and event.kind != "status":
                self.say(text)

    def stands(self, job: "Job") -> None:
        """How the job stands; told when this is called next, or before an event that came after it."""
        with self._lock:
            self._flush()
            self._held = job

    def _flush(self) -> None:
        job, self._held = self._held, None
        if job is None or job.message in _ENDED:
            return
        if job.status == ("running" if self._at_work else "queued"):
            self._watcher(Event(0, job.updated_at, "progress", _progress(job)))

    def _is_new(self, event: "records.Event") -> bool:
        """Whether this was not told before; what was cut off is another one each time."""
        data: Any = event.data
        if data.get("stopped") not in {None, "withheld"}:
            return True
        identity = (event.kind, *(str(data.get(name)) for name in _IDENTITY))
        new = identity not in self._told
        self._told.add(identity)
        return new


def _moment(at: str) -> str:
    """A time in UTC without its ending, which is written in two ways."""
    return at[:_TO_THE_MILLISECOND]


def _progress(job: "Job") -> dict[str, Any]:
    """A job as an event of progress: its stage without what is counted in it, so that it keeps its name."""
    title = _COUNTED.sub("", job.message).rstrip(".") if job.status == "running" else "Waiting for a worker"
    return {"stage": title or job.status, "share": job.progress, "calls": job.cost["calls"]}
