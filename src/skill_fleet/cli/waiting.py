"""Work in a thread, signals in the main one: the first Ctrl-C stops politely, the second at once.

The work runs in a thread of its own so that nobody else takes the signal: DSPy's executor installs a handler
wherever it runs in the main thread.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

_INTERRUPTED = 130
_GLANCE = 0.2

T = TypeVar("T")


def waited(work: Callable[[], T], *, on_first: Callable[[], None], on_second: Callable[[], None]) -> T:
    """The result of some work, or what it raised.

    Args:
        work: Done in a thread.
        on_first: Called in the main thread at the first SIGINT or SIGTERM.
        on_second: Called before the process ends at the second, with exit code 130.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def task() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            errors.append(error)

    thread = threading.Thread(target=task, name="work", daemon=True)
    with _signals(on_first, on_second):
        thread.start()
        while thread.is_alive():
            thread.join(_GLANCE)
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _signals(on_first: Callable[[], None], on_second: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM counted while this lasts; outside of the main thread nothing changes."""
    count = [0]

    def handle(_number: int, _frame: FrameType | None) -> None:
        count[0] += 1
        if count[0] == 1:
            on_first()
        else:
            on_second()
            os._exit(_INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
