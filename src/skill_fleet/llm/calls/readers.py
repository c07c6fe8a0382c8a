"""Who reads a stream and who has left it: what such a stream holds is not held for ever.

A stream is made as it is read, so nothing of it can see by itself that nobody reads on. One thread looks
after all streams with an attempt under way, as long as there are any. It is also this thread that ends them
when they are closed or forgotten. To end an attempt takes the locks of journal, line and limiter, and the
garbage collector may close a stream in the midst of anything, also in a thread that holds just these locks.
So nothing happens there but that a note is put into a queue, which may be done anywhere.
"""

import atexit
import contextlib
import inspect
import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

from skill_fleet.llm.halt import Halt

# How often it is looked, in seconds.
_GLANCE = 0.2
# So long, in seconds, a stream that is closed is waited for. Where the garbage collector closes it, its end
# may need a lock that this very thread holds: then it ends afterwards.
_CLOSING_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class Hold:
    """What the reader of one stream holds.

    Attributes:
        under_way: Whether an attempt is: then something is to be given back, and booked.
    """

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way = False


class _Note:
    """That a stream is to be ended."""

    __slots__ = ("awaited", "done", "error", "hold")

    def __init__(self, hold: Hold, *, awaited: bool = False) -> None:
        self.hold = hold
        self.awaited = awaited
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Readers:
    """The streams under way. For threads and tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Of attempts under way: whether its reader has left it alone, and what to do then, until it is done.
        self._watched: dict[Hold, tuple[Callable[[], bool], Callable[[], None]] | None] = {}
        self._thread: threading.Thread | None = None
        self._notes: queue.SimpleQueue[_Note | None] = queue.SimpleQueue()  # its `put` is re-entrant
        # Held here, or the garbage collector would end them itself, together with those who read them.
        self._streams: dict[Hold, Generator[Any, None, None]] = {}
        self._ending = threading.Lock()

    @contextlib.contextmanager
    def watched(
        self, hold: Hold, left_alone: Callable[[], bool], let_go: Callable[[], None]
    ) -> Iterator[None]:
        """Look after one attempt inside the block.

        Args:
            hold: Of its stream.
            left_alone: Whether its reader has left it alone.
            let_go: Called once, from another thread, when he has; never after the block.
        """
        with self._lock:
            self._look_after()
            self._watched[hold] = left_alone, let_go
        try:
            hold.under_way = True
            yield
        finally:
            with self._lock:
                hold.under_way = False
                if self._watched.pop(hold, None) is None:
                    self._notes.put(None)  # the thread may be waiting for no more than that

    def keep(self, hold: Hold, events: Generator[Any, None, None]) -> None:
        """Keep a stream from the garbage collector, until `forget`."""
        self._streams[hold] = events

    def forget(self, hold: Hold) -> None:
        """It has ended, or nobody reads it any more, which ends it; may be said in finalizers, too."""
        if hold.under_way:
            self._notes.put(_Note(hold))
        else:
            self._streams.pop(hold, None)

    def end(self, hold: Hold) -> None:
        """End a stream with an attempt under way.

        Raises:
            BaseException: What its end came to, where that is known soon.
        """
        note = _Note(hold, awaited=True)
        self._notes.put(note)
        thread = self._thread
        itself = thread is not None and thread.ident == threading.get_ident()
        if itself or not note.done.acquire(timeout=_CLOSING_SECONDS):
            note.awaited = False
        elif note.error is not None:
            raise note.error

    def close(self) -> None:
        """End all streams that wait for their readers: it is the end of the run that they belong to."""
        for hold in list(self._streams):
            with self._ending:
                events = self._streams.get(hold)
                if events is None or inspect.getgeneratorstate(events) != inspect.GEN_SUSPENDED:
                    continue
                self._told(_Note(hold), self._ended(hold, events))

    def _look_after(self) -> None:
        if self._thread is not None:
            self._notes.put(None)
            return
        thread = threading.Thread(target=self._watch, name="stream readers", daemon=True)
        thread.start()
        self._thread = thread
        _at_work.add(self)

    def _watch(self) -> None:
        while True:
            try:
                note = self._notes.get(timeout=self._patience())
            except queue.Empty:
                if self._at_leisure():
                    return
            else:
                if note is not None:
                    self._end(note)
            self._let_go()

    def _patience(self) -> float | None:
        """Seconds until the next look; None where there is nothing to see before a note comes."""
        with self._lock:
            return _GLANCE if not self._watched or any(self._watched.values()) else None

    def _at_leisure(self) -> bool:
        """Whether no attempt is under way: the next one gets another thread."""
        with self._lock:
            if self._watched:
                return False
            self._thread = None
            _at_work.discard(self)
            return True

    def _let_go(self) -> None:
        with self._lock:
            for hold, told in self._watched.items():
                if told is not None and told[0]():
                    self._watched[hold] = None
                    told[1]()

    def _end(self, note: _Note) -> None:
        with self._ending:
            events = self._streams.get(note.hold)
            error = None if events is None else self._ended(note.hold, events)
        self._told(note, error)

    def _ended(self, hold: Hold, events: Generator[Any, None, None]) -> BaseException | None:
        try:
            events.close()
        except BaseException as error:  # noqa: BLE001 - it belongs to who closed the stream, if to anybody
            return error
        finally:
            if not hold.under_way:  # it is, where another thread is reading it now
                self._streams.pop(hold, None)
        return None

    def _told(self, note: _Note, error: BaseException | None) -> None:
        note.error = error
        note.done.release()
        if error is not None and not note.awaited and not isinstance(error, Halt):  # that has closed the gate
            _logger.warning("A stream that nobody reads did not end well: %s.", type(error).__name__)


_at_work: set[Readers] = set()


@atexit.register
def _end_all() -> None:
    """What is left at the end of the process is booked, as far as its journal is open."""
    for readers in list(_at_work):
        readers.close()
