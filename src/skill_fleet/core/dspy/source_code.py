"""The code of programs as it stands in prompts: the same in every thread.

`inspect` reads files through a cache (`linecache`) that threads may not share: while one of them fills or
drops an entry, another finds half of it. A prompt then lacks the code, and the search goes another way.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_READING = threading.Lock()
_TRIES = 5


def read_alone(read: Callable[[], T]) -> T:
    """What is read of code, while no other thread reads any by this function.

    Others read code without asking: a traceback is formatted, or DSPy looks who has called. What fails for
    that does not fail again, so it is tried five times.

    Args:
        read: Reads it.

    Raises:
        Exception: Whatever the last try raised.
    """
    with _READING:
        for _ in range(_TRIES - 1):
            try:
                return read()
            except Exception:  # noqa: BLE001, S112 - whatever half an entry leads to; the last try raises
                continue
        return read()
