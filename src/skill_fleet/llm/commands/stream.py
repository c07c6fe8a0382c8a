"""What a program prints, on its way: the parts of it that will stand in the answer, whatever comes after."""

import asyncio
import contextlib
import queue
import re
import threading
from collections.abc import AsyncGenerator, Callable, Generator

from skill_fleet.llm.commands.failures import LONGEST_INSTEAD
from skill_fleet.llm.commands.process import OnOutput, Ran

Work = Callable[[threading.Event, OnOutput], Ran]
"""A run of a program: ended by the event, its output told as it comes."""

# Colours and movements (CSI), titles and links (OSC), other escapes; then characters that no text has. None
# goes over the end of a line.
_TERMINAL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]"
)


def plain(output: bytes, errors: str = "replace") -> str:
    """What a program printed, as text: no byte order mark, nothing meant for a terminal, no blank ends.

    Raises:
        UnicodeDecodeError: It is no UTF-8, and `errors` is `strict`.
    """
    return _lines(output, errors).removeprefix("\ufeff").strip()


def _lines(output: bytes, errors: str) -> str:
    return _TERMINAL.sub("", output.decode("utf-8", errors).replace("\r\n", "\n"))


class Printed:
    """Whole lines of an answer as they come; together with the rest they are `plain` of all of it.

    The first few hundred characters are held back: they may be a message in place of an answer.
    """

    def __init__(self) -> None:
        self._bytes = b""
        self._held = ""
        self._unreadable = False
        self._first = True
        self.shown = ""

    def more(self, said: bytes) -> str:
        """What can be shown now that this was printed."""
        whole, newline, self._bytes = (self._bytes + said).rpartition(b"\n")
        if not newline:
            return ""
        try:
            self._held += "" if self._unreadable else _lines(whole + newline, "strict")
        except UnicodeDecodeError:  # told at the end, when it is sure how much there is of it
            self._unreadable = True
        if self._first:
            self._held = self._held.removeprefix("\ufeff")
            self._first = False
        if not self.shown:
            self._held = self._held.lstrip()
        body = self._held.rstrip()
        if len(self.shown) + len(body) <= LONGEST_INSTEAD or self._unreadable:
            return ""
        self._held = self._held[len(body) :]
        self.shown += body
        return body


def told(work: Work) -> Generator[bytes | Ran, None, None]:
    """What a run prints, piece by piece, and how it ended. Who stops listening ends it.

    Raises:
        OSError: It cannot be started.
    """
    heard: queue.SimpleQueue[bytes | Ran | BaseException] = queue.SimpleQueue()
    stop = threading.Event()
    thread = _started(work, stop, heard.put)
    try:
        while isinstance(piece := heard.get(), bytes):
            yield piece
        yield _ended(piece)
    finally:
        stop.set()
        thread.join()


async def atold(work: Work) -> AsyncGenerator[bytes | Ran, None]:
    """`told`, awaited: the loop is never blocked."""
    heard: asyncio.Queue[bytes | Ran | BaseException] = asyncio.Queue()
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def put(piece: bytes | Ran | BaseException) -> None:
        with contextlib.suppress(RuntimeError):  # its loop is closed: nobody listens any more
            loop.call_soon_threadsafe(heard.put_nowait, piece)

    _started(work, stop, put)
    try:
        while isinstance(piece := await heard.get(), bytes):
            yield piece
        yield _ended(piece)
    finally:
        stop.set()


def _started(
    work: Work, stop: threading.Event, put: Callable[[bytes | Ran | BaseException], None]
) -> threading.Thread:
    def run() -> None:
        try:
            put(work(stop, put))
        except BaseException as error:  # noqa: BLE001 - raised again where it is listened to
            put(error)

    thread = threading.Thread(target=run, name="command", daemon=True)
    thread.start()
    return thread


def _ended(end: Ran | BaseException) -> Ran:
    if isinstance(end, BaseException):
        raise end
    return end
