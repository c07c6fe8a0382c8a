"""The metered engine: between DSPy and the provider, where every paid attempt passes.

For each request: look up -> join an equal call under way -> pay for it, attempt by attempt (`Paying`): wait
to be admitted -> reserve -> write the intent -> call -> store answer and settlement in one transaction. The
journal sits here and not above, because only an engine sees each attempt (retries, the `n` of a completion,
the JSON adapter's second try) exactly once.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from dspy.lm15 import Request, Response

from skill_fleet.llm.budget import Gate
from skill_fleet.llm.calls.line import Flight, Line, Retry, Traffic
from skill_fleet.llm.calls.listening import asked, awaited_asked
from skill_fleet.llm.calls.meter import Inner, Meter, OnFailure, Place
from skill_fleet.llm.calls.paying import Paying
from skill_fleet.llm.calls.streaming import astreamed, streamed

__all__ = ["AsyncMeteredEngine", "Inner", "Line", "MeteredEngine", "OnFailure", "Place", "Retry", "Traffic"]


class MeteredEngine(Meter):
    """A DSPy engine over one model of one stage; its arguments are those of `Meter`.

    Raises:
        Halt: A cap is reached, the gate is closed, the journal cannot be written, the job was taken up by
            another process, the provider was given up, or a call failed for good.
        dspy LMError: A call failed for good and `on_failure` is `raise`, or it is a proposal (`Withheld`).
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def behind(
        self, *, gate: Gate | None = None, place: Place | None = None, on_failure: OnFailure | None = None
    ) -> "MeteredEngine":
        """The same model behind another gate or place, or with another end of failures; None: the same."""
        return MeteredEngine(
            self.inner,
            self.spec,
            self.line,
            gate or self.gate,
            self.price,
            on_failure or self.on_failure,
            limiter=self.limiter,
            place=place or self.place,
            proposals=self.proposals,
        )

    def complete(self, request: Request) -> Response:
        """One answer: stored, shared with an equal call under way, or paid for."""
        document, key, context = self.keyed(request)
        while True:
            stored = self.stored(key, context)
            if stored is not None:
                return stored
            flight = Flight(key)
            try:
                equal = self.line.claim(flight)
                if equal is not None and self.line.joined(equal, self.gate):
                    continue
                stored = self.landed(key, context) if equal is None else None
                return stored or self._paid(Paying(self, request, document, key, context), request)
            finally:
                self.line.land(flight)

    def stream(self, request: Request) -> Iterator[Any]:
        """The same answer as `complete`, as events while they come; it shares its key."""
        return streamed(self, request)

    def close(self) -> None:
        """Nothing to release: the journal and the provider belong to others."""

    def _paid(self, paying: Paying, request: Request) -> Response:
        while True:
            with paying:
                return paying.settled(asked(self.inner, request))


class AsyncMeteredEngine:
    """The awaited twin: same keys, same journal, same budget."""

    def __init__(self, sync: MeteredEngine) -> None:
        self.sync = sync

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    async def complete(self, request: Request) -> Response:
        """One answer: stored, shared with an equal call under way, or paid for."""
        engine = self.sync
        document, key, context = engine.keyed(request)
        while True:
            stored = engine.stored(key, context)
            if stored is not None:
                return stored
            flight = Flight(key)
            try:
                equal = engine.line.claim(flight)
                if equal is not None and await engine.line.awaited(equal, engine.gate):
                    continue
                stored = engine.landed(key, context) if equal is None else None
                return stored or await self._paid(Paying(engine, request, document, key, context), request)
            finally:
                engine.line.land(flight)

    def stream(self, request: Request) -> AsyncIterator[Any]:
        """The same answer as `complete`, as events while they come; it shares its key."""
        return astreamed(self.sync, request)

    async def aclose(self) -> None:
        """Nothing to release."""

    async def _paid(self, paying: Paying, request: Request) -> Response:
        while True:
            async with paying:
                return paying.settled(await awaited_asked(self.sync.inner, request))
