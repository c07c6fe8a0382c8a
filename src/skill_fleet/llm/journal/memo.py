"""What a process remembers, bounded in number and in bytes: the least recently used goes first."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """A bounded dictionary for many threads.

    Args:
        entries: Most entries.
        size: Most bytes, as the entries' owners count them.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._room = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """What is remembered of a key, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Remember a value of so many bytes, and forget others where there is no room."""
        with self._lock:
            self._drop(key)
            self._kept[key] = (value, size)
            self._room -= size
            while self._kept and (self._room < 0 or len(self._kept) > self._entries):
                _, (_, freed) = self._kept.popitem(last=False)
                self._room += freed

    def forget(self, key: K) -> None:
        """Remember nothing of a key."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Remember nothing."""
        with self._lock:
            for key in list(self._kept):
                self._drop(key)

    def _drop(self, key: K) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self._room += dropped[1]
