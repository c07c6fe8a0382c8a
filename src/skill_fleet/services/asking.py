"""Questions put to a process of their own: what needs dspy, or would keep a server from answering.

The server imports no dspy and never computes for long. What needs either is asked here: one process, JSON
lines over its standard streams, one question at a time, in the order asked. It starts with the first question
and ends when idle, and its memory with it. The other end is `skill_fleet.services.answering`.
"""

import asyncio
import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skill_fleet.foundation import errors
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.services.context import Context
from skill_fleet.services.helper_process import Died, HelperProcess

log = logging.getLogger(__name__)

# -P: a workspace's files must not stand in for modules.
ANSWERING = (sys.executable, "-P", "-m", "skill_fleet.services.answering")
_LONGEST_LINE = 200
_SHARE_OF_LINE = 0.5
"""Of a question's time: what it may spend waiting. The rest is left for the answer."""
_LATEST = 0.2
"""Weight of the newest answer in how long one takes."""


class HelperUnavailable(SkillFleetError):
    """The process that answers questions did not; the same question may be answered later.

    Args:
        message: One sentence.
        hint: What to do about it.
        code: A finer one.
        retry_after: Seconds until it is worth asking again; None where that is not known.
    """

    code = "helper_crashed"

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after


class Helper:
    """Asks questions of a process; to be used from one event loop.

    Args:
        environ: Of the process.
        idle_seconds: How long it outlives its last answer.
        command: What to start.
        folder: Where; None is the current directory.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        idle_seconds: float = 60.0,
        command: Sequence[str] = ANSWERING,
        folder: Path | None = None,
    ) -> None:
        self._environ = dict(environ)
        self._idle_seconds = idle_seconds
        self._command = tuple(command)
        self._folder = folder
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._usual_seconds = 0.0
        self._number = 0
        self._process: HelperProcess | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None or self._process.ended else self._process.pid

    async def ask(self, question: str, payload: Mapping[str, Any], *, timeout: float = 30.0) -> Any:  # noqa: ASYNC109 - the process is killed
        """The answer to a question; see `ask_json`."""
        return json.loads(await self.ask_json(question, payload, timeout=timeout))

    async def ask_json(
        self,
        question: str,
        payload: Mapping[str, Any],
        *,
        timeout: float = 30.0,  # noqa: ASYNC109 - the process is killed
    ) -> bytes:
        """The answer to a question as JSON, for who passes it on: reading megabytes would hold others up.

        Whoever asked may go away: the question is answered to nobody, and not mixed up with the next.

        Args:
            question: Its name; see `answering.QUESTIONS`.
            payload: A JSON object.
            timeout: Seconds for the answer, from now. At most half of it is spent waiting for the questions
                before this one; a process that does not answer in the rest is killed.

        Raises:
            HelperUnavailable: It took too long (`helper_timeout`), too many are before it (`helper_busy`, at
                once where that can be foreseen), or the process died twice over it (`helper_crashed`).
            SkillFleetError: What the question itself ended with.
        """
        until = asyncio.get_running_loop().time() + timeout
        await self._wait_for_turn(timeout * _SHARE_OF_LINE)
        task = asyncio.ensure_future(self._answered(question, payload, timeout, until))
        task.add_done_callback(lambda _task: self._end_turn())
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End the process; nothing may be asked afterwards."""
        self._closed = True
        self._rest()
        if self._process is not None:
            await (self._process.kill() if self._turn.locked() else self._process.leave())
        if self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _wait_for_turn(self, patience: float) -> None:
        if self._closed:
            raise _stopping()
        foreseen = self._usual_seconds * (self._waiting + self._turn.locked())
        if foreseen > patience or self._waiting >= _LONGEST_LINE:
            raise _busy(foreseen)
        self._waiting += 1
        try:
            async with asyncio.timeout(patience):
                await self._turn.acquire()
        except TimeoutError:
            raise _busy(foreseen) from None
        finally:
            self._waiting -= 1

    def _end_turn(self) -> None:
        self._turn.release()
        self._rest()
        if not self._closed:
            self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._dismiss)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _dismiss(self) -> None:
        """Let an idle process go; a question that comes meanwhile starts another."""
        process, self._process = self._process, None
        if self._turn.locked() or process is None:
            self._process = process
            return
        task = asyncio.ensure_future(process.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _answered(
        self, question: str, payload: Mapping[str, Any], seconds: float, until: float
    ) -> bytes:
        self._rest()
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._number += 1
        asked = {"number": self._number, "question": question, "payload": payload}
        line = await asyncio.to_thread(_line, asked)
        for attempt in (1, 2):
            if self._closed:
                raise _stopping()
            try:
                async with asyncio.timeout_at(until):
                    head, value = await self._exchanged(line)
            except TimeoutError:
                await self._abandon()
                raise HelperUnavailable(
                    f"There was no answer to '{question}' within {seconds:g} s.",
                    hint="Try again; with less at once if it happens again.",
                    code="helper_timeout",
                ) from None
            except Died:
                tail = await self._abandon()
                log.warning("The process that answers died at '%s' (%d of 2): %s", question, attempt, tail)
                continue
            self._usual_seconds += _LATEST * (loop.time() - began - self._usual_seconds)
            _raise_told(head)
            return value
        raise HelperUnavailable(
            f"The process that answers '{question}' died twice over it.", hint="The server's log says more."
        )

    async def _exchanged(self, line: bytes) -> tuple[Mapping[str, Any], bytes]:
        if self._process is None or self._process.ended:
            self._process = await HelperProcess.started(self._command, self._environ, self._folder)
        return await self._process.exchange(line, self._number)

    async def _abandon(self) -> str:
        """Kill the process; what it last said on its standard error."""
        process, self._process = self._process, None
        return "it could not be started" if process is None else await process.kill()


def helper_of(context: Context) -> Helper:
    """The helper of a context: it reads the same workspace, and the same environment."""
    root = context.workspace.root
    environ = {**context.loaded.environ, "SKILL_FLEET_WORKSPACE": str(root)}
    return Helper(environ, idle_seconds=context.settings.server.helper_idle_seconds, folder=root)


def _line(asked: Mapping[str, Any]) -> bytes:
    return json.dumps(asked).encode() + b"\n"


def _stopping() -> HelperUnavailable:
    return HelperUnavailable("The server is stopping.", code="interrupted")


def _busy(foreseen: float) -> HelperUnavailable:
    return HelperUnavailable(
        "Too many questions are waiting to be answered.",
        hint="Try again in a moment.",
        code="helper_busy",
        retry_after=max(1, math.ceil(foreseen)),
    )


def _raise_told(head: Mapping[str, Any]) -> None:
    """Nothing, where the answer is a value.

    Raises:
        SkillFleetError: The question ended so; it is of the class it had.
    """
    told = head.get("error")
    if told is None:
        return
    kind: Any = vars(errors).get(told["kind"], SkillFleetError)
    made: SkillFleetError = kind.__new__(kind)  # constructors differ, what they keep does not
    SkillFleetError.__init__(made, told["message"], hint=told["hint"], code=told["code"])
    for name in told.keys() - {"code", "message", "hint", "kind"}:
        setattr(made, name, told[name])
    raise made
