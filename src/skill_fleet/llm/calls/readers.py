"""Who reads a stream and who has left it alone: what such a stream holds is not held for ever.

A stream is made as it is read, so nothing of it can see by itself that nobody reads on. One thread looks
after all streams that were begun, as long as there are any.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

# How often it is looked, in seconds.
_GLANCE = 0.2


class Readers:
    """The streams under way. For threads and tasks."""

    def __init__(self) -> None:
        # Re-entrant: a stream that nobody has any more is closed wherever memory is cleared up.
        self._lock = threading.RLock()
        self._watched: dict[object, tuple[Callable[[], bool], Callable[[], None]]] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watched(self, left_alone: Callable[[], bool], let_go: Callable[[], None]) -> Iterator[None]:
        """Look after one stream inside the block.

        Args:
            left_alone: Whether its reader has left it alone.
            let_go: Called once, from another thread, when he has; never after the block.
        """
        stream = object()
        with self._lock:
            self._watched[stream] = left_alone, let_go
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="stream readers", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(stream, None)

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_GLANCE)
            with self._lock:
                for stream, (left_alone, let_go) in list(self._watched.items()):
                    if left_alone() and self._watched.pop(stream, None) is not None:
                        let_go()
                if not self._watched:
                    self._thread = None
                    return
