"""A command line on a terminal of its own."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path


class Terminal:
    """A command that was started on a terminal.

    Args:
        root: Its directory.
        words: The command line after `skill-fleet`.
        columns: Of the terminal.
        program: What `skill-fleet` is.
        environ: Set besides what is inherited.

    Attributes:
        process: It.
        said: All that was read so far.
    """

    def __init__(
        self,
        root: Path,
        words: tuple[object, ...],
        columns: int = 80,
        program: tuple[str, ...] = (sys.executable, "-m", "skill_fleet"),
        **environ: str,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [*program, *map(str, words)],
            cwd=root,
            env={**inherited, "TERM": "xterm-256color", **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.said = b""

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._ours, text.encode())

    def reads(self, seconds: float = 60.0) -> bool:
        """Read the next that is written; False when there is no more, or nothing for so long."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            part = os.read(self._ours, 65536)
        except OSError:
            return False
        self.said += part
        return bool(part)

    def ended(self) -> tuple[int, str]:
        """Its exit code, and all that was written, when it is over; killed where it is silent for long."""
        while self.reads():
            pass
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        os.close(self._ours)
        return code, self.said.decode()


def bare(text: str) -> str:
    """What a terminal shows, without its commands."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
