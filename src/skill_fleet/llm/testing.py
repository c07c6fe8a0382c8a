"""A scripted model: what tests and plugin authors put where a provider would be. Real code, no mock.

It answers every DSPy signature, deterministically in (prompt, temperature, rollout, candidate), keeps a log
of what it was asked, and fails where a script says so.
"""

import asyncio
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dspy.lm15 import Message, Request, Response, TextPart, Usage

from skill_fleet.llm.call_context import current_call

Fault = Callable[[int, Request], None]
Answer = Callable[[Request], str | None]


def request_text(request: Request) -> str:
    """Everything a request says, system prompt first."""
    system = request.system or ""
    if not isinstance(system, str):
        system = "".join(getattr(part, "text", "") for part in system)
    return "\n".join([system, *(f"{m.role}: {m.text or ''}" for m in request.messages)])


class ScriptedModel:
    """A deterministic model for tests.

    Args:
        latency: Seconds an attempt takes.
        answer: Gives the text of an answer, or None for the default: every output field filled with a word
            made from a hash of the prompt.
        fault: Called with the attempt's number (from 1) and the request; raises what should go wrong.
        log: A file that gets one line an attempt: the hash of what was asked.
    """

    def __init__(
        self,
        *,
        latency: float = 0.0,
        answer: Answer | None = None,
        fault: Fault | None = None,
        log: Path | None = None,
    ) -> None:
        self.latency = latency
        self.attempts = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._answer = answer
        self._fault = fault
        self._log = log
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        """One attempt."""
        self._enter(request)
        try:
            if self.latency:
                time.sleep(self.latency)  # noqa: TID251 - a provider's latency is real time
            return self._respond(request)
        finally:
            self._leave()

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        self._enter(request)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            return self._respond(request)
        finally:
            self._leave()

    def _enter(self, request: Request) -> None:
        with self._lock:
            self.attempts += 1
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            number = self.attempts
            if self._log is not None:
                with self._log.open("a") as stream:
                    stream.write(_fingerprint(request)[:16] + "\n")
        if self._fault is not None:
            try:
                self._fault(number, request)
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        with self._lock:
            self.in_flight -= 1

    def _respond(self, request: Request) -> Response:
        text = self._answer(request) if self._answer is not None else None
        text = _filled(request) if text is None else text
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=len(request_text(request)) // 4 + 1, output_tokens=len(text) // 4 + 1),
        )


def _fingerprint(request: Request) -> str:
    call = current_call()
    asked = [request_text(request), request.config.temperature, call.rollout, call.candidate]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _filled(request: Request) -> str:
    fingerprint = _fingerprint(request)
    last = request.messages[-1].text or ""
    tail = last[last.rfind("Respond with") :] if "Respond with" in last else last[-400:]
    names = [name for name in re.findall(r"\[\[ ## (\w+) ## \]\]", tail) if name != "completed"]
    if not names:
        quoted = re.findall(r"`(\w+)`", tail)
        values = {name: f"{name}-{fingerprint[:12]}" for name in quoted}
        return json.dumps(values) if values else f"```\ninstruction-{fingerprint[:12]}\n```"
    fields = [f"[[ ## {n} ## ]]\n{n}-{fingerprint[i * 4 : i * 4 + 12]}" for i, n in enumerate(names)]
    return "\n\n".join([*fields, "[[ ## completed ## ]]"])
