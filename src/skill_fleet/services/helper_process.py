"""A process that answers, as its asker holds it: started, written to, listened to, ended."""

import asyncio
import contextlib
import json
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skill_fleet.foundation.redaction import secrets_of, without_secrets
from skill_fleet.services.configuration import without_password

_LONGEST_HEAD = 1024 * 1024
_TAIL_BYTES = 4096
_LEAVING_SECONDS = 1.0


class Died(Exception):
    """The process ended in the middle of a question."""


class HelperProcess:
    """A running process, in a process group of its own.

    Args:
        process: With pipes at all three streams.
        environ: Its environment.
    """

    def __init__(self, process: asyncio.subprocess.Process, environ: Mapping[str, str]) -> None:
        self._process = process
        self._secrets = secrets_of(environ)
        self._tail: deque[bytes] = deque(maxlen=64)
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def started(
        cls, command: Sequence[str], environ: Mapping[str, str], folder: Path | None
    ) -> "HelperProcess":
        """Start it.

        Raises:
            Died: It cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environ),
                cwd=folder,
                limit=_LONGEST_HEAD,
                start_new_session=True,
            )
        except OSError as error:
            raise Died from error
        return cls(process, environ)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is gone."""
        return self._process.returncode is not None

    async def exchange(self, line: bytes, number: int) -> tuple[Mapping[str, Any], bytes]:
        """Send one line and take what answers it: the head, and the value as JSON, which is not read here.

        Raises:
            Died: The process is gone, or says something else.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - pipes were asked for
        try:
            stdin.write(line)
            # Read while writing: neither side may wait for the other with its pipe full.
            _, said = await asyncio.gather(stdin.drain(), stdout.readline())
            head = json.loads(said)
            if head["number"] != number:
                raise Died
            return head, await stdout.readexactly(head["length"])
        except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
            raise Died from error

    async def leave(self) -> None:
        """End it by the end of its standard input, or kill it where that is not enough."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _LEAVING_SECONDS)
        except TimeoutError:
            await self.kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listening, _LEAVING_SECONDS)

    async def kill(self) -> str:
        """Kill it and all it started; what it last said on its standard error, without secrets."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listening), _LEAVING_SECONDS)
        text = b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace").strip()
        said = str(without_password(without_secrets(text, self._secrets)))
        return said or f"it said nothing (exit code {self._process.returncode})"

    async def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - a pipe was asked for
        while said := await self._process.stderr.read(_TAIL_BYTES):
            self._tail.append(said)
