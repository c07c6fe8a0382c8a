"""The metered engine: between DSPy and the provider, where every paid attempt passes.

For each request: look up -> join an equal call under way -> reserve -> write the intent -> call -> store
answer and settlement in one transaction. The journal sits here and not above, because only an engine sees
each attempt (retries, the `n` of a completion, the JSON adapter's second try) exactly once.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import orjson
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.lm15 import Request, Response

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.budget import Gate, Worst
from skill_fleet.llm.call_context import CallContext, current_call
from skill_fleet.llm.commands import identity_of
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained, understand
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal import Usage
from skill_fleet.llm.line import Line, Retry, Traffic
from skill_fleet.llm.listening import asked, awaited_asked
from skill_fleet.llm.pricing import Price, cost_of, worst_case
from skill_fleet.llm.remembered import unchangeable
from skill_fleet.llm.streaming import astreamed, streamed

__all__ = ["AsyncMeteredEngine", "Inner", "Line", "MeteredEngine", "OnFailure", "Retry", "Traffic"]

OnFailure = Literal["halt", "raise"]
# How often one who waits looks whether it may still go on, in seconds.
_GLANCE = 0.2
_SLOT_GLANCE = 0.01


class Inner(Protocol):
    """What makes one attempt: a provider or the offline model."""

    def complete(self, request: Request) -> Response:
        """One attempt."""
        ...

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        ...


@dataclass(frozen=True)
class _Open:
    attempt: str
    key: str
    worst: Worst
    context: CallContext


class MeteredEngine:
    """A DSPy engine over one model of one stage.

    Args:
        inner: Makes the attempts.
        spec: The model.
        line: Shared by all engines of the process.
        gate: The stage's door to the budget.
        price: Per token, or None when unknown.
        on_failure: `halt` stops everything when a call fails for good (inside a search, where a failure
            would become a score); `raise` gives the DSPy error to the caller (our own measurements).

    Raises:
        Halt: A cap is reached, the gate is closed, the journal cannot be written, the job was taken up by
            another process, or a call failed for good.
        dspy LMError: A call failed for good and `on_failure` is `raise`.
    """

    def __init__(
        self,
        inner: Inner,
        spec: ModelSpec,
        line: Line,
        gate: Gate,
        price: Price | None,
        on_failure: OnFailure = "halt",
    ) -> None:
        self.inner = inner
        self.spec = spec
        self.line = line
        self.gate = gate
        self.price = price
        self.on_failure = on_failure
        self._slot = line.slot(spec)
        command = identity_of(spec)
        self._command = () if command is None else (command,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def complete(self, request: Request) -> Response:
        """One answer: stored, shared with an equal call under way, or paid for."""
        document, key, context = self._keyed(request)
        while True:
            stored = self._stored(key, context)
            if stored is not None:
                return stored
            flight, landing = self.line.claim(key)
            if landing is not None:
                if flight.thread == threading.get_ident():
                    # A task of this very thread makes it, and cannot go on while we wait for it.
                    return self._pay(request, document, key, context)
                landing.result()
                continue
            try:
                return self._landed(key, context) or self._pay(request, document, key, context)
            finally:
                self.line.land(key, flight)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same answer as `complete`, as events while they come; it shares its key."""
        return streamed(self, request)

    def close(self) -> None:
        """Nothing to release: the journal and the provider belong to others."""

    def _keyed(self, request: Request) -> tuple[bytes, str, CallContext]:
        context = current_call()
        document = orjson.dumps(request_to_dict(request), option=orjson.OPT_SORT_KEYS)
        place = [self.spec.model, self.spec.api_base, context.rollout, context.candidate, *self._command]
        return document, digest([document.decode(), place]), context

    def confirm(self, answers: Sequence[tuple[str, str]]) -> bool:
        """Whether the journal would give just these answers now; counted as given when it does.

        Raises:
            Halt: As for any call: the gate is closed, or the journal cannot be read.
        """
        if any(self._looked_up(key) != body for key, body in answers):
            return False
        self.line.traffic.count("from_journal", len(answers))
        return True

    def _looked_up(self, key: str) -> str | None:
        if self.gate.closed is not None:
            raise self.gate.closed.again()
        try:
            return self.line.journal.lookup(key)
        except StorageError as error:
            raise self._storage_halt(error) from error

    def _stored(self, key: str, context: CallContext) -> Response | None:
        body = self._looked_up(key)
        return None if body is None else self._from_journal(body, key, context)

    def _landed(self, key: str, context: CallContext) -> Response | None:
        """What another thread stored between the look-up and the claim: the journal remembers it."""
        body = self.line.journal.recall(key)
        return None if body is None else self._from_journal(body, key, context)

    def _from_journal(self, body: str, key: str, context: CallContext) -> Response:
        self.line.traffic.count("from_journal")
        return self._parsed(body, key, context)

    def _parsed(self, body: str, key: str, context: CallContext) -> Response:
        try:
            response = response_from_dict(orjson.loads(body))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            damaged = StorageError(
                f"The stored answer {key[:12]} in {self.line.journal.place} cannot be read.",
                hint="Clear the cache: the ledger of what was paid stays.",
            )
            raise self._storage_halt(damaged) from error
        return self._answered(response, body, key, context)

    def _answered(self, response: Response, body: str, key: str, context: CallContext) -> Response:
        context.candidate += 1
        context.answers.append((key, body))
        return response

    def _storage_halt(self, error: StorageError) -> Halt:
        return self.gate.close(Halt("storage", error)).again()

    def _pay(self, request: Request, document: bytes, key: str, context: CallContext) -> Response:
        for number in range(1, self.line.retry.attempts + 1):
            with self._slot or contextlib.nullcontext():
                worst = self._worst(request, document)
                self.gate.enter(worst)
                opened = self._open(worst, key, context)
                try:
                    response = asked(self.inner, request)
                    return self._settle(opened, request, response)
                except Halt:
                    raise  # the journal could not note the outcome: the attempt stays open, for `reconcile`
                except Exception as error:  # noqa: BLE001 - every failure is understood, booked and passed on
                    pause = self._failed(opened, error, number)
                except BaseException:
                    self._abandon(opened)
                    raise
            self._rest(pause)
        raise AssertionError("unreachable: the last failure raises")

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, but no longer than calls may be made."""
        clock = self.line.clock
        until = clock.monotonic() + seconds
        while self.gate.closed is None and (left := until - clock.monotonic()) > 0:
            clock.sleep(min(left, _GLANCE))

    def _worst(self, request: Request, document: bytes) -> Worst:
        return worst_case(self.spec, self.price, len(document), request.config.max_tokens)

    def _open(self, worst: Worst, key: str, context: CallContext) -> _Open:
        try:
            attempt = self.line.journal.open_attempt(
                self.line.run,
                key,
                context.phase,
                self.spec.model,
                reserved_tokens=worst.tokens if worst.bounded else None,
                reserved_usd=worst.usd,
            )
        except (StorageError, LeaseLost) as error:
            # Nothing was sent: a journal that cannot note the call, or may not, forbids it.
            self.gate.account.settle(worst, 0, 0.0)
            if isinstance(error, LeaseLost):
                raise self.gate.close(Halt("lease", error)).again() from error
            raise self._storage_halt(error) from error
        self.line.traffic.count("made")
        return _Open(attempt, key, worst, context)

    def _settle(self, opened: _Open, request: Request, response: Response) -> Response:
        usage = self._usage(request, response)
        problem = _unusable(response)
        if problem is not None:
            self._book(opened, usage, problem.code or "unusable", billed=True)
            raise problem
        body, exact = _text(response_to_dict(response, include_provider_data=True))
        try:
            stored = self.line.journal.settle(opened.attempt, opened.key, self.spec.model, body, usage)
        except StorageError as error:
            raise self._storage_halt(error) from error
        self.gate.account.settle(opened.worst, _total(usage), usage.usd)
        self.gate.account.answered()
        if stored is body and exact and unchangeable(response):
            return self._answered(response, body, opened.key, opened.context)
        # Read back, so that the caller gets what whoever replays it will get.
        return self._parsed(stored, opened.key, opened.context)

    def _usage(self, request: Request, response: Response) -> Usage:
        usage = response.usage
        dollars = cost_of(self.spec, self.price, request, response)
        return Usage(usage.input_tokens, usage.output_tokens, dollars)

    def _book(self, opened: _Open, usage: Usage | None, reason: str, *, billed: bool) -> None:
        try:
            self.line.journal.fail(opened.attempt, reason, usage=usage, billed=billed)
        except StorageError as error:
            raise self._storage_halt(error) from error
        if not billed:
            self.gate.account.settle(opened.worst, 0, 0.0)
        else:
            self.gate.account.settle(opened.worst, _total(usage), usage.usd if usage else None)

    def _failed(self, opened: _Open, error: Exception, number: int, *, again: bool = True) -> float:
        """Book a failed attempt.

        Args:
            opened: The attempt.
            error: What it ended with.
            number: Its number, from 1.
            again: Whether another may be made: not when words of this one were shown.

        Returns:
            Seconds to wait before the next one.
        """
        failure = understand(error)
        if isinstance(error, UnusableAnswer):
            self.gate.account.answered()
        elif failure.remedy != "give_up":
            self.gate.account.failed(explained(error, failure, self.spec.model))
        if not isinstance(error, UnusableAnswer):
            self._book(opened, None, failure.code, billed=failure.sent)
        last = not again or number >= self.line.retry.attempts or self.gate.closed is not None
        if failure.remedy == "retry" and not last:
            return self.line.retry.pause(number, failure.retry_after)
        self._give_up(error, failure)
        raise error

    def _give_up(self, error: Exception, failure: Failure) -> None:
        if failure.remedy == "stop" or self.on_failure == "halt":
            halt = Halt("provider", explained(error, failure, self.spec.model))
            raise self.gate.close(halt).again() from error

    def _abandon(self, opened: _Open) -> None:
        """A BaseException came through the attempt itself: the call may have been billed."""
        self._book(opened, None, "abandoned", billed=True)


class AsyncMeteredEngine:
    """The awaited twin: same keys, same journal, same budget."""

    def __init__(self, sync: MeteredEngine) -> None:
        self.sync = sync

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """One answer: stored, shared with an equal call under way, or paid for."""
        engine = self.sync
        document, key, context = engine._keyed(request)  # noqa: SLF001 - its twin
        while True:
            stored = engine._stored(key, context)  # noqa: SLF001
            if stored is not None:
                return stored
            flight, landing = engine.line.claim(key)
            if landing is not None:
                await asyncio.wrap_future(landing)
                continue
            try:
                stored = engine._landed(key, context)  # noqa: SLF001
                return stored or await self._pay(request, document, key, context)
            finally:
                engine.line.land(key, flight)

    def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same answer as `complete`, as events while they come; it shares its key."""
        return astreamed(self, request)

    async def aclose(self) -> None:
        """Nothing to release."""

    async def _pay(self, request: Request, document: bytes, key: str, context: CallContext) -> Response:
        engine = self.sync
        for number in range(1, engine.line.retry.attempts + 1):
            async with _awaited(engine._slot):  # noqa: SLF001
                worst = engine._worst(request, document)  # noqa: SLF001
                await engine.gate.aenter(worst)
                opened = engine._open(worst, key, context)  # noqa: SLF001
                try:
                    response = await awaited_asked(engine.inner, request)
                    return engine._settle(opened, request, response)  # noqa: SLF001
                except Halt:
                    raise  # the journal could not note the outcome: the attempt stays open, for `reconcile`
                except Exception as error:  # noqa: BLE001 - every failure is understood, booked and passed on
                    pause = engine._failed(opened, error, number)  # noqa: SLF001
                except BaseException:
                    engine._abandon(opened)  # noqa: SLF001
                    raise
            while pause > 0 and engine.gate.closed is None:
                await asyncio.sleep(min(pause, _GLANCE))
                pause -= _GLANCE
        raise AssertionError("unreachable: the last failure raises")


@contextlib.asynccontextmanager
async def _awaited(slot: threading.BoundedSemaphore | None) -> AsyncIterator[None]:
    """A slot held while a task calls. Threads and tasks share the slots, so a task never blocks on one."""
    while slot is not None and not slot.acquire(blocking=False):  # noqa: ASYNC110 - no event tells a task
        await asyncio.sleep(_SLOT_GLANCE)
    try:
        yield
    finally:
        if slot is not None:
            slot.release()


def _text(document: dict[str, Any]) -> tuple[str, bool]:
    """An answer as JSON, and whether it is exact: half a surrogate pair, which some send, becomes a `?`."""
    try:
        return orjson.dumps(document).decode(), True
    except TypeError:
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace").decode(), False


def _unusable(response: Response) -> UnusableAnswer | None:
    reason = response.finish_reason
    if reason == "length":
        return UnusableAnswer("The answer was cut off at max_tokens.", code="truncated")
    if reason == "content_filter":
        return UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
    if reason == "error":
        return UnusableAnswer("The provider broke the answer off.", code="broken_off")
    if not (response.message.text or "").strip() and reason != "tool_call":
        return UnusableAnswer("The provider sent an empty answer.", code="empty")
    return None


def _total(usage: Usage | None) -> int | None:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens
