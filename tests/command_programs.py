"""Programs that answer prompts: small scripts, and the offline model behind one."""

import contextlib
import os
import re
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

_CLIENT = """\
import socket, sys
with socket.socket(socket.AF_UNIX) as line:
    line.connect(sys.argv[1])
    line.sendall(sys.stdin.buffer.read())
    line.shutdown(socket.SHUT_WR)
    while said := line.recv(65536):
        sys.stdout.buffer.write(said)
"""
_HEADING = re.compile(r"^(=+) ([a-z]+) \1\n", re.MULTILINE)
PYTHON = (sys.executable, "-I", "-S")


def script(place: Path, text: str, *, interpreter: str = "/bin/sh") -> tuple[str, ...]:
    """An executable file, as a command."""
    place.write_text(f"#!{interpreter}\n{text}")
    place.chmod(place.stat().st_mode | stat.S_IXUSR)
    return (str(place),)


def python(text: str, *arguments: str) -> tuple[str, ...]:
    """A few lines of Python as a command that starts fast."""
    return (*PYTHON, "-c", text, *arguments)


def conversation_in(text: str) -> tuple[str, list[tuple[str, str]]]:
    """What `command_prompt.conversation` has made one text of: the preamble and the turns."""
    marks = _HEADING.search(text)
    assert marks is not None, text
    heading = re.compile(rf"^{marks[1]} ([a-z]+) {marks[1]}\n", re.MULTILINE)
    preamble, *rest = heading.split(text)
    turns = list(zip(rest[::2], rest[1::2], strict=True))
    last = len(turns) - 1
    return preamble, [
        (role, said.removesuffix("\n" if number == last else "\n\n"))
        for number, (role, said) in enumerate(turns)
    ]


@contextlib.contextmanager
def offline_behind_a_command() -> Iterator[tuple[str, ...]]:
    """A command whose answers are the offline model's: a small client of a socket in this process."""
    from dspy.lm15 import Message, Request

    from skill_fleet.llm.offline.model import OfflineModel

    model = OfflineModel(0)

    def answer(text: str) -> str:
        _, turns = conversation_in(text)
        system = "".join(said for role, said in turns if role == "system") or None
        makers: dict[str, Callable[[str], Message]] = {"user": Message.user, "assistant": Message.assistant}
        messages = tuple(makers[role](said) for role, said in turns if role != "system")
        return model.complete(Request(model="m", messages=messages, system=system)).message.text or ""

    with answering(answer) as address:
        yield python(_CLIENT, address)


@contextlib.contextmanager
def answering(answer: Callable[[str], str]) -> Iterator[str]:
    """A Unix socket that answers each text sent to it; in a folder whose name is short enough for one."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as door:
        door.bind(f"{folder}/s")
        door.listen(64)
        door.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    line, _ = door.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=one, args=(line,), daemon=True).start()

        def one(line: socket.socket) -> None:
            with line:
                line.settimeout(20)
                parts: list[bytes] = []
                while said := line.recv(65536):
                    parts.append(said)
                line.sendall(answer(b"".join(parts).decode()).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"{folder}/s"
        finally:
            over.set()
            thread.join()


class Rendezvous:
    """Programs that wait for one another: none goes on before so many are there.

    Attributes:
        line: What a shell script does in order to be there and to wait.
        met: Whether they came together; where they do not within a minute they go on all the same.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._door, self._book, self._count = folder / "door", folder / "book", count
        os.mkfifo(self._door)
        # The door is open before anybody notes that he is there; it is shut for all at once.
        self.line = f"exec 9< {self._door}; echo here >> {self._book}; cat <&9 >/dev/null"
        self.met = False
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        door = os.open(self._door, os.O_RDWR)
        until = time.monotonic() + 60
        while not self._over.is_set() and time.monotonic() < until and not self.met:
            self.met = self._there() >= self._count
            time.sleep(0.005)
        os.close(door)

    def _there(self) -> int:
        return len(self._book.read_text().splitlines()) if self._book.exists() else 0


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def seen(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Whether something becomes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return False
