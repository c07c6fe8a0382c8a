"""No process group of a command outlives the process that asked it, however that one dies.

What a program moves to a session of its own is beyond this: it is in another group. One small process beside
ours is told of each process group while it runs. Its standard input ends when ours does, by whatever death;
then it kills the groups that are left, and ends. This file is its whole program too.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_LEAVING_SECONDS = 2.0
_LOOKS = 20
_LOOK_SECONDS = 0.05


class Warden:
    """The process that outlives ours by a moment. Started at the first call; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[bytes] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def expect(self, folder: str) -> None:
        """Kill whatever is about to begin in this folder, when our process ends before it has told more."""
        self._tell(add=_expected(folder))

    def watch(self, group: int, folder: str) -> None:
        """Kill this process group when our process ends; it is what began in the folder."""
        self._tell(add=_group(group), drop=_expected(folder))

    def forget(self, group: int) -> None:
        """The group is gone, and its number may become another's."""
        self._tell(drop=_group(group))

    def dismiss(self, folder: str) -> None:
        """Nothing begins in the folder after all."""
        self._tell(drop=_expected(folder))

    def _tell(self, add: bytes = b"", drop: bytes = b"") -> None:
        with self._lock:
            if add:
                self._watched.add(add)
            self._watched.discard(drop)
            words = b"".join(sign + said + b"\n" for sign, said in ((b"+", add), (b"-", drop)) if said)
            if not self._told(words) and add:
                self._process = _started()
                atexit.unregister(self.leave)
                atexit.register(self.leave)
                self._told(b"".join(b"+%s\n" % one for one in self._watched))

    def leave(self) -> None:
        """Let it kill what is left, and end."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LEAVING_SECONDS)

    def _told(self, words: bytes) -> bool:
        """Whether it could be told."""
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(words)
        except OSError:  # somebody killed it
            self._process.stdin.close()
            self._process.wait(_LEAVING_SECONDS)
            self._process = None
            return False
        return True


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this very file, by the interpreter that runs us
        [sys.executable, "-I", "-S", __file__],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={},
        start_new_session=True,
    )


WARDEN = Warden()
"""The one of this process."""


def kill_group(group: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal to a process group.

    Returns:
        Whether anybody was there to get it.
    """
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of the dead
        return False
    return True


def _group(number: int) -> bytes:
    return b"%d" % number


def _expected(folder: str) -> bytes:
    return os.fsencode(Path(folder).resolve())


def _wait_and_kill() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: set[bytes] = set()
    for line in sys.stdin.buffer:
        (watched.add if line[:1] == b"+" else watched.discard)(line[1:].rstrip(b"\n"))
    for one in watched:
        if one.isdigit():
            kill_group(int(one))
    folders = {one for one in watched if not one.isdigit()}
    for _ in range(_LOOKS if folders else 0):
        _kill_in(folders)
        threading.Event().wait(_LOOK_SECONDS)


def _kill_in(folders: set[bytes]) -> None:
    """Kill the groups of processes that are in these folders, where the system has `/proc`.

    One that our process was about to tell of when it ended may even begin after that.
    """
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode((place / "cwd").readlink()) in folders:
                kill_group(os.getpgid(int(place.name)))
        except OSError:  # it is gone, or another user's
            continue


if __name__ == "__main__":
    _wait_and_kill()
