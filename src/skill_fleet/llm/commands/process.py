"""One run of a program: confined, bounded, and gone afterwards with all it started.

It starts in an empty folder of its own, without a terminal, in a session of its own, with the environment it
is given and no more. Its standard input ends after the prompt. POSIX only.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from skill_fleet.foundation.clock import Clock
from skill_fleet.llm.commands.warden import WARDEN, kill_group

MOST_OUTPUT = 8 * 2**20
"""Bytes of an answer that are taken; a program that prints more is ended."""

Ended = Literal["exited", "timed_out", "stopped", "printed_too_much"]
OnOutput = Callable[[bytes], None]

_CHUNK = 64 * 1024
_KEPT_WORDS = 16 * 1024
# How often one who waits looks whether the program is gone or was given up, in seconds.
_GLANCE = 0.05
_GRACE = 0.5
_REAP_SECONDS = 5.0


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        file: The program itself.
        arguments: What it is told, its own name first.
        environment: All of it.
    """

    file: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Ran:
    """How a run went.

    Attributes:
        ended: By itself, or why it was ended.
        status: Its exit status, negative for a signal; None where nobody can tell: this process ignores
            SIGCHLD, or somebody else reaped it.
        output: What it printed, at most `MOST_OUTPUT` bytes.
        words: The end of its standard error.
    """

    ended: Ended
    status: int | None
    output: bytes
    words: bytes


def run(
    program: Program,
    prompt: bytes,
    *,
    seconds: float,
    stop: threading.Event,
    clock: Clock,
    on_output: OnOutput | None = None,
) -> Ran:
    """Run a program over a prompt, and wait for its end.

    Args:
        program: What to run.
        prompt: Its standard input.
        seconds: It is ended when it takes longer.
        stop: Ends it when set.
        clock: For the time-out.
        on_output: Told what it prints as it comes.

    Raises:
        OSError: It cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="skill-fleet-", ignore_cleanup_errors=True) as folder:
        WARDEN.expect(folder)
        try:
            process = _started(program, folder)
        except BaseException:
            WARDEN.dismiss(folder)
            raise
        WARDEN.watch(process.pid, folder)
        life = _Life(process.pid)
        try:
            pump = _Pump(process, life, prompt, on_output)
            ended = pump.until_over(clock.monotonic() + seconds, stop, clock)
        finally:
            _end(process, life, clock)
        return Ran(ended, life.status, bytes(pump.output), bytes(pump.words))


def _started(program: Program, folder: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - what the operator named, as a list, without a shell
        program.arguments,
        executable=program.file,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=dict(program.environment),
        start_new_session=True,
    )


class _Life:
    """Whether a process has ended, and with what.

    It is left as it is: until it is reaped, its number cannot become another's. What `Popen` says of it is
    not asked: it takes a status that was lost for 0.

    Attributes:
        status: Its exit status, negative for a signal; None while it runs, and where nobody can tell.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = False
        self.status: int | None = None

    def over(self) -> bool:
        """Whether it has ended."""
        if not self._over:
            self._look()
        return self._over

    def _look(self) -> None:
        try:
            found = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody reaps all children of this process
            self._over = True
            return
        if found is not None:
            self._over = True
            self.status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


class _Pump:
    """Feeds a process and hears it, all at once: neither side may wait for the other with its pipe full."""

    def __init__(
        self, process: subprocess.Popen[bytes], life: _Life, prompt: bytes, on_output: OnOutput | None
    ) -> None:
        self.output = bytearray()
        self.words = bytearray()
        self._process, self._life = process, life
        self._prompt, self._on_output = memoryview(prompt), on_output

    def until_over(self, deadline: float, stop: threading.Event, clock: Clock) -> Ended:
        with selectors.DefaultSelector() as watched:
            for pipe, event, step in (
                (self._process.stdin, selectors.EVENT_WRITE, self._feed),
                (self._process.stdout, selectors.EVENT_READ, self._hear),
                (self._process.stderr, selectors.EVENT_READ, self._listen),
            ):
                assert pipe is not None  # noqa: S101 - pipes were asked for
                os.set_blocking(pipe.fileno(), False)
                watched.register(pipe, event, (step, pipe))
            return self._until_over(watched, deadline, stop, clock)

    def _until_over(
        self, watched: selectors.BaseSelector, deadline: float, stop: threading.Event, clock: Clock
    ) -> Ended:
        while True:
            left = deadline - clock.monotonic()
            if stop.is_set():
                return "stopped"
            if left <= 0:
                return "timed_out"
            gone = self._life.over()
            if not watched.get_map():
                if gone:
                    return "exited"
                stop.wait(min(left, _GLANCE / 10))
                continue
            ready = watched.select(0 if gone else min(left, _GLANCE))
            for step, pipe in (key.data for key, _ in ready):
                if not step(pipe):
                    watched.unregister(pipe)
                    pipe.close()
            if len(self.output) > MOST_OUTPUT:
                return "printed_too_much"
            if gone and all(key.fileobj is self._process.stdin for key, _ in ready):
                return "exited"  # somebody it left behind holds its pipes: what it printed is here

    def _feed(self, pipe: IO[bytes]) -> bool:
        """Write some of the prompt; whether there is more."""
        try:
            written = os.write(pipe.fileno(), self._prompt[:_CHUNK])
        except BlockingIOError:
            return True
        except BrokenPipeError:  # it read what it wanted
            written = len(self._prompt)
        self._prompt = self._prompt[written:]
        return bool(self._prompt)

    def _hear(self, pipe: IO[bytes]) -> bool:
        """Read some of the answer; whether there may be more."""
        said = os.read(pipe.fileno(), _CHUNK)
        self.output += said
        if said and self._on_output is not None:
            self._on_output(said)
        return bool(said)

    def _listen(self, pipe: IO[bytes]) -> bool:
        """Keep the end of what it says on its standard error; whether there may be more."""
        said = os.read(pipe.fileno(), _CHUNK)
        self.words += said
        del self.words[:-_KEPT_WORDS]
        return bool(said)


def _end(process: subprocess.Popen[bytes], life: _Life, clock: Clock) -> None:
    """Nothing is left of it and of those it started: asked first where it still runs, then killed."""
    try:
        if not life.over():
            kill_group(process.pid, signal.SIGTERM)
        until = clock.monotonic() + _GRACE
        while not life.over() and clock.monotonic() < until:
            clock.sleep(_GLANCE / 5)
    finally:
        kill_group(process.pid)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_REAP_SECONDS)
        WARDEN.forget(process.pid)
