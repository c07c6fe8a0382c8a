"""What the reader of a stream is given: a generator that he may close, or forget, wherever and whenever."""

from collections.abc import Callable, Generator
from typing import Any

from typing_extensions import override

from skill_fleet.llm.calls.readers import Hold, Readers


class Reading(Generator[Any, None, None]):
    """The events of a stream, for its reader: a generator that may be forgotten at any moment.

    Args:
        readers: Who looks after it.
        hold: As its attempts have it.
        events: The stream itself; nothing else may refer to it.
    """

    def __init__(self, readers: Readers, hold: Hold, events: Generator[Any, None, None]) -> None:
        self._readers = readers
        self._hold = hold
        self._events = events

    @override
    def __next__(self) -> Any:
        return self._advanced(self._events.__next__)

    @override
    def send(self, value: None) -> Any:
        """The next event, as of any generator."""
        return self._advanced(lambda: self._events.send(value))

    @override
    def throw(self, *error: Any) -> Any:
        """Raise an error where the stream stands: its attempt is over, and booked."""
        return self._advanced(lambda: self._events.throw(*error))

    @override
    def close(self) -> None:
        """End the stream: an attempt under way is booked, before this returns unless that takes long."""
        if self._hold.under_way:
            self._readers.end(self._hold)
        else:
            self._events.close()
            self._readers.forget(self._hold)

    def _advanced(self, step: Callable[[], Any]) -> Any:
        self._readers.keep(self._hold, self._events)
        try:
            return step()
        except BaseException:
            if not self._hold.under_way:  # it is, where another thread is reading it now
                self._readers.forget(self._hold)
            raise

    def __del__(self) -> None:
        self._readers.forget(self._hold)
