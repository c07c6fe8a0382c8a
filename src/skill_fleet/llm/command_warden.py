"""Nothing that a command started outlives the process that asked it, however that one dies.

One small process beside ours is told of each process group while it runs. Its standard input ends when ours
does, by whatever death; then it kills the groups that are left, and ends. This file is its whole program too.
"""

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading

_LEAVING_SECONDS = 2.0


class Warden:
    """The process that outlives ours by a moment. Started at the first call; safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Kill this process group when our process ends."""
        with self._lock:
            self._groups.add(group)
            if not self._told(b"+%d\n" % group):
                self._process = _started()
                atexit.unregister(self.leave)
                atexit.register(self.leave)
                self._told(b"".join(b"+%d\n" % one for one in self._groups))

    def forget(self, group: int) -> None:
        """The group is gone, and its number may become another's."""
        with self._lock:
            self._groups.discard(group)
            self._told(b"-%d\n" % group)

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


def _wait_and_kill() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    for group in groups:
        kill_group(group)


if __name__ == "__main__":
    _wait_and_kill()
