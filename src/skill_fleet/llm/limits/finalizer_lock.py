"""A lock that a finalizer may meet in the very thread that holds it.

The garbage collector closes a stream that nobody reads any more, and with that ends its call. It may do so in
the midst of anything, also in a thread that holds the lock, and would wait for itself then. A lock that the
same thread may take twice is no help: what it guards is half changed.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator


class FinalizerLock:
    """A lock, and what was put off until it is free."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: set[int] = set()  # threads that have the lock, or another that they would wait for
        self._later: deque[Callable[[], None]] = deque()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; what was put off is done before it is let go."""
        with self.putting_off(), self._lock:
            try:
                yield
            finally:
                while self._later:
                    self._later.popleft()()

    @contextlib.contextmanager
    def putting_off(self) -> Iterator[None]:
        """What finalizers want to do in this thread meanwhile is done right after."""
        thread = threading.get_ident()
        outermost = thread not in self._busy
        self._busy.add(thread)
        try:
            yield
        finally:
            if outermost:
                self._busy.discard(thread)
                if self._later:  # it came after the lock was let go, or where it was not held
                    with self.held():
                        pass

    def soon(self, work: Callable[[], None]) -> None:
        """Do something with the lock held: now, or where this thread is in the midst of it, right after.

        Args:
            work: It must not take the lock.
        """
        if threading.get_ident() in self._busy:
            self._later.append(work)
        else:
            with self.held():
                work()
