"""What happened in a run, in order: progress bar, log, report and service all read this one stream."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_fleet.foundation.clock import Clock, iso
from skill_fleet.foundation.errors import StorageError


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        number: Position in the run's stream, from 1; 0 for what is shown and not kept.
        at: ISO 8601, UTC.
        kind: `started`, `resumed`, `preflight`, `baseline`, `power`, `round_began`, `round`, `set_aside`,
            `withheld`, `test`, `warning`, `waiting`, `published`, `finished`, or `progress`.
        data: What belongs to the kind.
    """

    number: int
    at: str
    kind: str
    data: dict[str, Any]


Listener = Callable[[Event], None]


class EventLog:
    """The stream of a run: appended to a file, and told to a listener.

    Args:
        path: `events.jsonl`; a half-written last line of a killed process is cut off.
        clock: For the times.
        listener: Told of every event, in the thread in which it happened.
    """

    def __init__(self, path: Path, clock: Clock, listener: Listener | None = None) -> None:
        self._path = path
        self._clock = clock
        self._listener = listener
        self._lock = threading.Lock()
        self._number = _mend(path)

    def emit(self, kind: str, **data: Any) -> None:
        """Something that is kept.

        Raises:
            StorageError: The file cannot be written.
        """
        with self._lock:
            self._number += 1
            event = Event(self._number, iso(self._clock.now()), kind, data)
            line = json.dumps({"n": event.number, "at": event.at, "kind": kind, **data}, ensure_ascii=False)
            try:
                with self._path.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")
            except OSError as error:
                raise StorageError(f"{self._path} cannot be written: {error.strerror}.") from error
        if self._listener is not None:
            self._listener(event)

    def kept(self) -> Iterator[dict[str, Any]]:
        """What was kept so far, by earlier processes of the run too."""
        return read_events(self._path)

    def progress(self, **data: Any) -> None:
        """How far it is, which is shown and not kept."""
        self.show("progress", data)

    def show(self, kind: str, data: Mapping[str, Any]) -> None:
        """Something that is shown while it lasts."""
        if self._listener is not None:
            self._listener(Event(0, iso(self._clock.now()), kind, dict(data)))


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """The kept events of a run, in order; a half-written last line is left out."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _mend(path: Path) -> int:
    """Cut a half-written last line off, and count the whole ones."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) != len(data):
        path.write_bytes(whole)
    return whole.count(b"\n")
