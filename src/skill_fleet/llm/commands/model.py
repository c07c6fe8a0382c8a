"""A command as a model: a program that reads a prompt on stdin and prints the answer.

What it cannot do is said nowhere by silence: usage is unknown, never zero; a temperature, a longest answer
and a seed cannot be passed on.
"""

import contextlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from dspy.lm15 import (
    Message,
    Request,
    Response,
    StreamDeltaEvent,
    StreamEndEvent,
    StreamStartEvent,
    TextDelta,
    TextPart,
    Usage,
)

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.foundation.redaction import secrets_of
from skill_fleet.llm.commands import failures
from skill_fleet.llm.commands.known import command_line, find_program, variables_of
from skill_fleet.llm.commands.process import MOST_OUTPUT, OnOutput, Program, Ran, run
from skill_fleet.llm.commands.prompt import conversation
from skill_fleet.llm.commands.stream import Printed, atold, plain, told
from skill_fleet.llm.failures import redacted, redacting
from skill_fleet.llm.own_thread import in_own_thread

_BASIC = ("PATH", "HOME", "LANG", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class CommandModel:
    """One command line, run once a call. Safe between threads.

    Args:
        spec: The model; its `command`, or one that is known by its name.
        environ: What the command's environment is taken from.
        clock: For time-outs.

    Raises:
        ConfigError: There is no such command line, or this system cannot run one.
        ProviderError: Its program is not there or may not be run.
    """

    def __init__(self, spec: ModelSpec, environ: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> None:
        if not hasattr(os, "killpg"):
            raise ConfigError(f"The model {spec.model} is a command, which needs a POSIX system.")
        file = find_program(spec, environ)
        self._program = Program(file, command_line(spec), environment_of(spec, environ))
        self._spec, self._clock, self._name = spec, clock, file.name
        given = (self._program.environment[name] for name in spec.command_env if name in environ)
        self._secrets = (*secrets_of(environ), *(value for value in given if len(value) >= 8))

    def complete(self, request: Request) -> Response:
        """One run."""
        return self._answered(request, threading.Event())

    async def acomplete(self, request: Request) -> Response:
        """One run, awaited; a task that is cancelled ends it."""
        stop = threading.Event()
        try:
            return await in_own_thread(lambda: self._answered(request, stop), "command")
        finally:
            stop.set()

    def stream(self, request: Request) -> Iterator[Any]:
        """One run, its answer line by line as it is printed; who stops listening ends it."""
        prompt, printed = _prompt(request), Printed()
        yield StreamStartEvent(id=None, model=request.model)
        with redacting(self._secrets), contextlib.closing(told(self._work(prompt))) as pieces:
            for piece in pieces:
                yield from self._events(printed, piece, prompt)

    async def astream(self, request: Request) -> AsyncIterator[Any]:
        """The same, awaited."""
        prompt, printed = _prompt(request), Printed()
        yield StreamStartEvent(id=None, model=request.model)
        with redacting(self._secrets):
            async with contextlib.aclosing(atold(self._work(prompt))) as pieces:
                async for piece in pieces:
                    for event in self._events(printed, piece, prompt):
                        yield event

    def _events(self, printed: Printed, piece: bytes | Ran, prompt: bytes) -> Iterator[Any]:
        """What a piece of its output adds to the answer; its end adds the rest."""
        if isinstance(piece, bytes):
            text = printed.more(piece)
            if text:
                yield StreamDeltaEvent(delta=TextDelta(text=text, part_index=0))
            return
        rest = self._text(piece, prompt)[len(printed.shown) :]
        if rest or not printed.shown:
            yield StreamDeltaEvent(delta=TextDelta(text=rest, part_index=0))
        yield StreamEndEvent(finish_reason="stop", usage=Usage())

    def _answered(self, request: Request, stop: threading.Event) -> Response:
        prompt = _prompt(request)
        with redacting(self._secrets):
            text = self._text(self._work(prompt)(stop, None), prompt)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(),
        )

    def _work(self, prompt: bytes) -> Callable[[threading.Event, OnOutput | None], Ran]:
        def work(stop: threading.Event, on_output: OnOutput | None) -> Ran:
            seconds, clock = self._spec.timeout, self._clock
            try:
                return run(
                    self._program, prompt, seconds=seconds, stop=stop, clock=clock, on_output=on_output
                )
            except OSError as error:
                raise failures.not_started(self._name, error, self._spec.model) from None

        return work

    def _text(self, ran: Ran, prompt: bytes) -> str:
        """The answer, or the failure that is in its place."""
        model = self._spec.model
        if ran.ended == "timed_out":
            raise failures.timed_out(self._name, self._spec.timeout, model)
        if ran.ended == "stopped":
            raise failures.stopped(self._name, model)
        if ran.ended == "printed_too_much":
            raise failures.printed_too_much(self._name, MOST_OUTPUT // 2**20, model)
        if ran.status is None:
            raise failures.status_unknown(self._name, model)
        if ran.status != 0:
            told = (ran.words, ran.output[:4096], prompt)
            words, output, asked = (redacted(plain(part), self._secrets) for part in told)
            raise failures.failed(self._name, ran.status, words, output, model, asked)
        try:
            text = plain(ran.output, errors="strict")
        except UnicodeDecodeError as error:
            raise failures.no_text(self._name, error.start, model) from None
        instead = failures.said_instead(self._name, text, model, self._secrets)
        if instead is not None:
            raise instead
        return text


def _prompt(request: Request) -> bytes:
    return conversation(request).encode("utf-8", "replace")


def environment_of(spec: ModelSpec, environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a command: what every program needs, and what its entry names."""
    wanted = {*_BASIC, *variables_of(spec)}
    return {
        name: value
        for name, value in environ.items()
        if name in wanted or name.startswith("LC_") or name.lower() in _PROXIES
    }
