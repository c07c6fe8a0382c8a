"""Answers as they come: the events of a paid attempt on their way to who asked for a stream.

A streamed call is a call like any other: the same key, one flight, a reservation and a line in the ledger for
each attempt, and the assembled answer in the journal, so that whoever asks again gets the same words, by
stream or whole. What is different is what a failure may do: nothing that was shown can be taken back, so an
attempt is made again only as long as none of its words were passed on.

Models that cannot stream (the offline model among them) answer whole, and the answer is passed on in words;
so do servers that turn out to know no streams.
"""

import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dspy.lm15 import (
    AsyncResponseStream,
    Request,
    Response,
    ResponseStream,
    StreamEndEvent,
    StreamStartEvent,
    TextPart,
    response_to_events,
)

from skill_fleet.foundation.clock import Clock
from skill_fleet.llm.calls.line import Flight
from skill_fleet.llm.calls.meter import Meter
from skill_fleet.llm.calls.paying import Paying
from skill_fleet.llm.calls.readers import Hold
from skill_fleet.llm.calls.reading import Reading
from skill_fleet.llm.calls.way import can_stream
from skill_fleet.llm.failures import UnusableAnswer

_WORD = re.compile(r"\s*\S+|\s+")


def as_events(response: Response) -> Iterator[Any]:
    """A whole answer as a stream, word by word: listeners look for field marks in small pieces."""
    for event in response_to_events(response):
        text = getattr(getattr(event, "delta", None), "text", None)
        if not isinstance(text, str):
            yield event
            continue
        for word in _WORD.findall(text):
            yield replace(event, delta=replace(event.delta, text=word))


@dataclass
class _Passed:
    """What of one attempt went on to the caller.

    Attributes:
        flight: Of the call: told while the caller has to ask for the next piece.
        clock: For that.
        begun: Told of the first piece.
        any: Whether anything did: then the attempt cannot be made a second time.
        text: The words, as they were passed on.
    """

    flight: Flight
    clock: Clock
    begun: Callable[[], None]
    any: bool = False
    text: str = ""
    _start: StreamStartEvent | None = None

    def on(self, event: Any) -> Iterator[Any]:
        """An event as it is passed on: a start only with the first piece, the end not at all."""
        if event.type == "start":
            self._start = event
        elif event.type == "delta":
            if not self.any:
                self.begun()
            self.flight.read_at = self.clock.monotonic()
            first, self.any = not self.any, True  # before: what fails while the reader has it is his
            if first and self._start is not None:
                yield self._start
            yield self._piece(event)
            self.flight.read_at = None

    def _piece(self, event: Any) -> Any:
        text = getattr(event.delta, "text", None)
        if not isinstance(text, str):
            return event
        whole = storable(text)
        if event.delta.type == "text":
            self.text += whole
        return event if whole is text else replace(event, delta=replace(event.delta, text=whole))


def storable(text: str) -> str:
    """A text as the journal keeps it: half a surrogate pair, which some send, is a `?`."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


@dataclass(frozen=True)
class _Paid:
    """A paid answer of which the caller has not got all.

    Attributes:
        response: As the journal has it.
        passed: What was passed on.
        end: How the stream ended; None where the answer came whole.
    """

    response: Response
    passed: _Passed
    end: StreamEndEvent | None

    def rest(self) -> Iterator[Any]:
        """What the caller has not got yet.

        Raises:
            UnusableAnswer: Another process stored another answer to the same call first: that one holds, and
                words that were passed on cannot be taken back.
        """
        if self.end is None:
            yield from as_events(self.response)
            return
        if _words(self.response) != self.passed.text:
            raise UnusableAnswer(
                "Another process was given another answer to this call first; ask again to get that one.",
                code="superseded",
            )
        yield self.end


def _words(response: Response) -> str:
    return "".join(part.text for part in response.message.parts if isinstance(part, TextPart))


def streamed(meter: Meter, request: Request) -> Reading:
    """The events of one answer: stored, shared with an equal call under way, or paid for as they come.

    Raises:
        Halt: As for a whole answer.
        dspy LMError: As for a whole answer; also where it broke off after words of it were passed on.
    """
    hold = Hold()
    return Reading(meter.line.readers, hold, _events(meter, request, hold))


def _events(meter: Meter, request: Request, hold: Hold) -> Generator[Any, None, None]:
    document, key, context = meter.keyed(request)
    paid: _Paid | None = None
    while True:
        stored = meter.stored(key, context)
        if stored is not None:
            yield from as_events(stored)
            return
        flight = Flight(key)
        try:
            equal = meter.line.claim(flight)
            if equal is not None and meter.line.joined(equal, meter.gate):
                continue
            stored = meter.landed(key, context) if equal is None else None
            if stored is None:  # where nobody waits for the equal one, nobody joins this one
                paying = Paying(meter, request, document, key, context)
                paid = yield from _paid(meter, request, paying, flight, hold)
        finally:
            meter.line.land(flight)  # before the rest: those who wait have no use for it
        yield from paid.rest() if paid is not None else as_events(stored)
        return


def _paid(
    meter: Meter, request: Request, paying: Paying, flight: Flight, hold: Hold
) -> Generator[Any, None, _Paid]:
    while True:
        passed = paying.shown = _Passed(flight, meter.line.clock, paying.begun)
        with paying:  # also left by a caller who does not want the rest: that is booked
            with _read(meter, flight, paying, hold):
                response, end = yield from _passing(meter, request, passed)
            return _Paid(paying.settled(response), passed, end)


def _read(
    meter: Meter, flight: Flight, paying: Paying, hold: Hold
) -> contextlib.AbstractContextManager[None]:
    """A stream that its reader leaves alone gives back what others wait for."""
    line = meter.line
    return line.readers.watched(hold, lambda: line.left_alone(flight), paying.let_go)


def _passing(
    meter: Meter, request: Request, passed: _Passed
) -> Generator[Any, None, tuple[Response, StreamEndEvent | None]]:
    inner, way = meter.inner, meter.model.way
    if way.whole or not can_stream(inner):
        return inner.complete(request), None
    end: StreamEndEvent | None = None
    with (
        way.by_stream() as answer,
        contextlib.closing(ResponseStream(inner.stream(request), request)) as stream,
    ):
        for event in stream.events():
            answer.begun = True
            end = event if event.type == "end" else end
            yield from passed.on(event)
        return stream.response, end


async def astreamed(meter: Meter, request: Request) -> AsyncGenerator[Any, None]:
    """The awaited twin of `streamed`."""
    document, key, context = meter.keyed(request)
    bill: list[_Paid] = []
    while True:
        stored = meter.stored(key, context)
        if stored is not None:
            break
        flight = Flight(key)
        try:
            equal = meter.line.claim(flight)
            if equal is not None and await meter.line.awaited(equal, meter.gate):
                continue
            stored = meter.landed(key, context) if equal is None else None
            if stored is None:
                paying = Paying(meter, request, document, key, context)
                async with contextlib.aclosing(_awaited_paid(meter, request, paying, flight, bill)) as events:
                    async for event in events:
                        yield event
        finally:
            meter.line.land(flight)
        break
    for event in bill[0].rest() if stored is None else as_events(stored):
        yield event


async def _awaited_paid(
    meter: Meter, request: Request, paying: Paying, flight: Flight, bill: list[_Paid]
) -> AsyncGenerator[Any, None]:
    """The events of an attempt that succeeds; what comes of it is put into `bill`."""
    way = meter.model.way
    while not bill:
        passed = paying.shown = _Passed(flight, meter.line.clock, paying.begun)
        end: StreamEndEvent | None = None
        async with paying:
            if way.whole or not can_stream(meter.inner):
                bill.append(_Paid(paying.settled(await meter.inner.acomplete(request)), passed, None))
                return
            source = AsyncResponseStream(meter.inner.astream(request), request)
            with _read(meter, flight, paying, Hold()), way.by_stream() as answer:
                async with contextlib.aclosing(source) as stream:
                    async for event in stream.events():
                        answer.begun = True
                        end = event if event.type == "end" else end
                        for piece in passed.on(event):
                            yield piece
                    response = await stream.response()
            bill.append(_Paid(paying.settled(response), passed, end))
