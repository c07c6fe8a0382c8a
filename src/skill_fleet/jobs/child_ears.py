"""How a child hears that it is to stop: a signal, or the end of its standard input when its worker died."""

import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Literal

Heard = Literal["signal", "orphaned"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent dies; elsewhere the end of standard input has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)


def listen(heard: Callable[[Heard], None], *, stdin: int = 0) -> None:
    """Tell of signals and of the end of standard input, from a thread of its own. From the main thread only.

    Nothing is done in a signal handler: it might interrupt whoever holds the very lock that it needs.

    Args:
        heard: Told each time, in the thread that listens.
        stdin: Held open by the worker; nothing is ever written to it that says anything.
    """
    ready, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=_hear, args=(ready, stdin, heard), name="ears", daemon=True).start()


def _hear(ready: int, stdin: int, heard: Callable[[Heard], None]) -> None:
    watched = [ready, stdin]
    while True:
        for source in select.select(watched, [], [])[0]:
            said = os.read(source, 512)
            if source == ready and any(number in _SIGNALS for number in said):
                heard("signal")
            if source == stdin and not said:
                watched.remove(stdin)
                heard("orphaned")
