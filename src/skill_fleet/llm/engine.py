"""The metered engine: between DSPy and the provider, where every paid attempt passes.

For each request: look up -> join an equal call under way -> reserve -> write the intent -> call -> store
answer and settlement in one transaction. The journal sits here and not above, because only an engine sees
each attempt (retries, the `n` of a completion, the JSON adapter's second try) exactly once.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import orjson
from dspy._vendor.lm15.serde import request_to_dict, response_from_dict, response_to_dict
from dspy.lm15 import Request, Response, response_to_events

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.budget import Gate, Worst
from skill_fleet.llm.call_context import CallContext, current_call
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained, understand
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal import Journal, Usage
from skill_fleet.llm.pricing import Price, cost_of, worst_case

OnFailure = Literal["halt", "raise"]


class Inner(Protocol):
    """What makes one attempt: a provider or the offline model."""

    def complete(self, request: Request) -> Response:
        """One attempt."""
        ...

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        ...


@dataclass(frozen=True)
class Retry:
    """How often and how long a passing failure is waited out.

    Attributes:
        attempts: Attempts at one call, the first included.
        base: Seconds before the second attempt; doubled for each further one.
        longest: Most seconds between two attempts, also when the provider asks for more.
    """

    attempts: int = 6
    base: float = 1.0
    longest: float = 60.0

    def pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the attempt after this one (counted from 1)."""
        return min(self.longest, asked if asked is not None else self.base * 2.0 ** (attempt - 1))


@dataclass
class Traffic:
    """What the calls of a process did so far; for progress and results. Guarded by its lock."""

    made: int = 0
    from_journal: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, what: Literal["made", "from_journal"]) -> None:
        """One more."""
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)


@dataclass(frozen=True)
class Line:
    """What the engines of a process share: one journal, one table of calls under way, one traffic count.

    Args:
        journal: Answers and ledger.
        run: What the attempts are booked on.
        clock: For pauses.
        retry: For passing failures.
    """

    journal: Journal
    run: str
    clock: Clock
    retry: Retry = Retry()
    traffic: Traffic = field(default_factory=Traffic)
    flights: dict[str, "concurrent.futures.Future[None]"] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def claim(self, key: str) -> "tuple[concurrent.futures.Future[None], bool]":
        """The call under way for a key, and whether the caller has to make it."""
        with self.lock:
            flight = self.flights.get(key)
            if flight is not None:
                return flight, False
            flight = self.flights[key] = concurrent.futures.Future()
            return flight, True

    def land(self, key: str, flight: "concurrent.futures.Future[None]") -> None:
        """The call of a key is over, well or not: those who wait look again."""
        with self.lock:
            self.flights.pop(key, None)
        flight.set_result(None)


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
        Halt: A cap is reached, the gate is closed, the journal cannot be written, or a call failed for good.
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
        self._slots = threading.BoundedSemaphore(spec.in_flight) if spec.in_flight else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def complete(self, request: Request) -> Response:
        """One answer: stored, shared with an equal call under way, or paid for."""
        document, key, context = self._keyed(request)
        while True:
            stored = self._stored(key, context)
            if stored is not None:
                return stored
            flight, leading = self.line.claim(key)
            if not leading:
                flight.result()
                continue
            try:
                # Between the look-up and the claim another thread may have landed this very call.
                return self._stored(key, context) or self._pay(request, document, key, context)
            finally:
                self.line.land(key, flight)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same answer as `complete`, as events; it shares its key."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing to release: the journal and the provider belong to others."""

    def _keyed(self, request: Request) -> tuple[bytes, str, CallContext]:
        context = current_call()
        document = orjson.dumps(request_to_dict(request), option=orjson.OPT_SORT_KEYS)
        place = [self.spec.model, self.spec.api_base, context.rollout, context.candidate]
        return document, digest([document.decode(), place]), context

    def _stored(self, key: str, context: CallContext) -> Response | None:
        if self.gate.closed is not None:
            raise self.gate.closed
        try:
            body = self.line.journal.lookup(key)
        except StorageError as error:
            raise self.gate.close(Halt("storage", error)) from error
        if body is None:
            return None
        self.line.traffic.count("from_journal")
        return _parsed(body, context)

    def _pay(self, request: Request, document: bytes, key: str, context: CallContext) -> Response:
        for number in range(1, self.line.retry.attempts + 1):
            opened = self._open(document, key, context)
            try:
                response = self._attempt(request)
                return _parsed(self._settle(opened, request, response), context)
            except Exception as error:  # noqa: BLE001 - every failure is understood, booked and passed on
                pause = self._failed(opened, error, number)
            except BaseException:
                self._abandon(opened)
                raise
            self.line.clock.sleep(pause)
        raise AssertionError("unreachable: the last failure raises")

    def _attempt(self, request: Request) -> Response:
        if self._slots is None:
            return self.inner.complete(request)
        with self._slots:
            return self.inner.complete(request)

    def _open(self, document: bytes, key: str, context: CallContext) -> _Open:
        worst = worst_case(self.spec, self.price, len(document))
        self.gate.enter(worst)
        try:
            attempt = self.line.journal.open_attempt(self.line.run, key, context.phase, self.spec.model)
        except StorageError as error:
            # Nothing was sent: a journal that cannot note the call forbids it.
            raise self.gate.close(Halt("storage", error)) from error
        self.line.traffic.count("made")
        return _Open(attempt, key, worst, context)

    def _settle(self, opened: _Open, request: Request, response: Response) -> str:
        usage = self._usage(request, response)
        problem = _unusable(response)
        if problem is not None:
            self._book(opened, usage, problem.code or "unusable", billed=True)
            raise problem
        body = orjson.dumps(response_to_dict(response, include_provider_data=True)).decode()
        try:
            stored = self.line.journal.settle(opened.attempt, opened.key, self.spec.model, body, usage)
        except StorageError as error:
            raise self.gate.close(Halt("storage", error)) from error
        self.gate.account.settle(opened.worst, _total(usage), usage.usd)
        return stored

    def _usage(self, request: Request, response: Response) -> Usage:
        usage = response.usage
        dollars = cost_of(self.spec, self.price, request, response)
        return Usage(usage.input_tokens, usage.output_tokens, dollars)

    def _book(self, opened: _Open, usage: Usage | None, reason: str, *, billed: bool) -> None:
        try:
            self.line.journal.fail(opened.attempt, reason, usage=usage, billed=billed)
        except StorageError as error:
            raise self.gate.close(Halt("storage", error)) from error
        if not billed:
            self.gate.account.settle(opened.worst, 0, 0.0)
        else:
            self.gate.account.settle(opened.worst, _total(usage), usage.usd if usage else None)

    def _failed(self, opened: _Open, error: Exception, number: int) -> float:
        """Book a failed attempt.

        Returns:
            Seconds to wait before the next one.
        """
        failure = understand(error)
        if not isinstance(error, UnusableAnswer):
            self._book(opened, None, failure.code, billed=failure.sent)
        last = number >= self.line.retry.attempts or self.gate.closed is not None
        if failure.remedy == "retry" and not last:
            return self.line.retry.pause(number, failure.retry_after)
        self._give_up(error, failure)
        raise error

    def _give_up(self, error: Exception, failure: Failure) -> None:
        if failure.remedy == "stop" or self.on_failure == "halt":
            halt = Halt("provider", explained(error, failure, self.spec.model))
            raise self.gate.close(halt) from error

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
            flight, leading = engine.line.claim(key)
            if not leading:
                await asyncio.wrap_future(flight)
                continue
            try:
                # Between the look-up and the claim another task may have landed this very call.
                stored = engine._stored(key, context)  # noqa: SLF001
                return stored or await self._pay(request, document, key, context)
            finally:
                engine.line.land(key, flight)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same answer as `complete`, as events; it shares its key."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Nothing to release."""

    async def _pay(self, request: Request, document: bytes, key: str, context: CallContext) -> Response:
        engine = self.sync
        for number in range(1, engine.line.retry.attempts + 1):
            opened = engine._open(document, key, context)  # noqa: SLF001
            try:
                response = await engine.inner.acomplete(request)
                return _parsed(engine._settle(opened, request, response), context)  # noqa: SLF001
            except Exception as error:  # noqa: BLE001 - every failure is understood, booked and passed on
                pause = engine._failed(opened, error, number)  # noqa: SLF001
            except BaseException:
                engine._abandon(opened)  # noqa: SLF001
                raise
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last failure raises")


def _parsed(body: str, context: CallContext) -> Response:
    context.candidate += 1
    return response_from_dict(orjson.loads(body))


def _unusable(response: Response) -> UnusableAnswer | None:
    reason = response.finish_reason
    if reason == "length":
        return UnusableAnswer("The answer was cut off at max_tokens.", code="truncated")
    if reason == "content_filter":
        return UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
    if not (response.message.text or "").strip() and reason == "stop":
        return UnusableAnswer("The provider sent an empty answer.", code="empty")
    return None


def _total(usage: Usage | None) -> int | None:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens
