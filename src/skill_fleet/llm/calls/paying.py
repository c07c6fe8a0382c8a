"""One call being paid for: its attempts, one after another, each reserved, noted, and booked however it ends.

`with paying:` is one attempt, for threads and for tasks alike, whole or streamed. To enter it is to wait
until it may be made: for a place, for the first call to a model that nobody knows yet, for the account's
limiter, and at last for room in the budget, so that nothing is set aside for what only waits. To leave it
with an error is to book it. An error that may pass is waited out and swallowed, and the loop around makes the
next attempt.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from dspy.lm15 import Request, Response

from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.call_context import CallContext
from skill_fleet.llm.calls.answers import as_text, total, unusable
from skill_fleet.llm.calls.meter import Meter
from skill_fleet.llm.calls.remembered import unchangeable
from skill_fleet.llm.calls.tries import Attempt, Tries
from skill_fleet.llm.calls.way import understood
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.limits.limiter import Broken, Ticket
from skill_fleet.llm.lm15_json import response_to_dict
from skill_fleet.llm.pricing import bill_of, worst_case

# How often one who waits looks whether it may still go on, in seconds.
_GLANCE = 0.2
# Bytes of a prompt to a token, about: what a provider counts against its limit until it knows better.
_BYTES_A_TOKEN = 4


class Shown(Protocol):
    """What of an attempt went on to the caller.

    Attributes:
        any: Whether anything did: nothing can be taken back, so the attempt is the last.
    """

    any: bool


class Paying:
    """One call that the journal has no answer to.

    Args:
        meter: Of the model it is made with.
        request: What is asked.
        document: The same as JSON.
        key: Of the call.
        context: What it is part of.

    Attributes:
        shown: Of the attempt under way; None where answers come whole.

    Raises:
        Halt: On entering: no attempt may be made. On leaving: the attempt failed, and with it everything.
        Exception: On leaving: what the attempt failed with, where it is not made again.
    """

    def __init__(
        self, meter: Meter, request: Request, document: bytes, key: str, context: CallContext
    ) -> None:
        self._meter = meter
        self._request = request
        self._key = key
        self._context = context
        self._worst = worst_case(meter.spec, meter.price, len(document), request.config.max_tokens)
        self._prompt_tokens = len(document) // _BYTES_A_TOKEN
        self._attempt = ""
        self._tries = Tries(meter, key)
        self._placed = self._ahead = False
        self._ticket: Ticket | None = None
        self._before: Ticket | None = None  # of the last attempt
        self._reserved: int | None = None  # while room is set aside: the thread that it is set aside for
        self._around: BaseException | None = None  # what the caller is handling
        self.shown: Shown | None = None

    def __enter__(self) -> Self:
        self._around = sys.exc_info()[1]
        meter = self._meter
        meter.line.catch_up()
        if meter.place is not None and not self._placed:
            meter.place.acquire()
            self._placed = True
        with self._given_back():
            if meter.limiter is not None:
                self._ahead = self._ahead or meter.model.ahead(meter.gate.shut)
                if self._ahead and not self._tries.made:
                    meter.limiter.asked_anew(meter.spec.model)
                self._ticket = meter.limiter.admit(
                    meter.quota, self._expected(), self._waits_no_more, self._before
                )
            # It raises where the waiting was given up since it is shut.
            self._reserved = meter.gate.enter(self._worst)
            self._open()
        return self

    async def __aenter__(self) -> Self:
        self._around = sys.exc_info()[1]
        meter = self._meter
        meter.line.catch_up()
        if meter.place is not None and not self._placed:
            await meter.place.aacquire()
            self._placed = True
        with self._given_back():
            if meter.limiter is not None:
                self._ahead = self._ahead or await meter.model.awaited_ahead(meter.gate.shut)
                if self._ahead and not self._tries.made:
                    meter.limiter.asked_anew(meter.spec.model)
                self._ticket = await meter.limiter.aadmit(
                    meter.quota, self._expected(), self._waits_no_more, self._before
                )
            self._reserved = await meter.gate.aenter(self._worst)
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._leave(met=True)
            return False
        pause = self._ended(error)
        if pause is None:
            return False
        with self._given_back():
            self._rest(pause)
        return True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._leave(met=True)
            return False
        pause = self._ended(error)
        if pause is None:
            return False
        with self._given_back():
            while pause > 0 and not self._waits_no_more():
                await asyncio.sleep(min(pause, _GLANCE))
                pause -= _GLANCE
        return True

    def begun(self) -> None:
        """The answer has begun to come: that is what those wait for whom this attempt goes ahead."""
        if self._ticket is not None:
            self._ticket.begun()
        if self._ahead:
            self._ahead = False
            self._meter.model.back(met=True)

    def let_go(self) -> None:
        """Nobody reads on: leave room for others. The attempt goes on, and is booked when it ends."""
        if self._ticket is not None:
            self._ticket.dropped()
        self._give_place_back()

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """What breaks the waiting off leaves nothing held, and nothing set aside: nothing was sent."""
        try:
            yield
        except BaseException as error:
            self._settle(0, 0.0)
            self._leave(met=False)
            if isinstance(error, Broken):
                raise self._given_up(error) from error
            raise

    def settled(self, response: Response) -> Response:
        """Store the answer of the attempt and book what it cost.

        Returns:
            The answer as whoever asks again will get it.

        Raises:
            UnusableAnswer: It is none.
        """
        meter = self._meter
        usage = bill_of(meter.spec, meter.price, self._request, response)
        self._answered(usage)  # first: others need not wait until it is written
        problem = unusable(response)
        if problem is not None:
            self._book(usage, problem.code or "unusable", billed=True)
            raise problem
        body, exact = as_text(response_to_dict(response))
        try:
            stored = meter.line.journal.settle(self._attempt, self._key, meter.spec.model, body, usage)
        except StorageError as error:
            raise meter.storage_halt(error) from error
        self._settle(total(usage), usage.usd)
        if stored is body and exact and unchangeable(response):
            return meter.given(response, body, self._key, self._context)
        # Read back, so that the caller gets what whoever replays it will get.
        return meter.parsed(stored, self._key, self._context)

    def _answered(self, usage: Usage | None) -> None:
        """The provider has answered, whatever the answer is good for."""
        meter = self._meter
        if self._ticket is not None:
            self._ticket.answered(total(usage))
        meter.model.answers(None if usage is None else usage.output_tokens)
        meter.gate.account.answered()

    def _expected(self) -> int:
        meter = self._meter
        longest = self._request.config.max_tokens or meter.spec.max_tokens
        return self._prompt_tokens + meter.model.expected(longest)

    def _waits_no_more(self) -> bool:
        """Whether to wait has no use any more; asked again and again, it also says that it takes long."""
        meter = self._meter
        if meter.limiter is not None:
            now = meter.line.clock.monotonic()
            meter.line.patience.look(meter.limiter, meter.spec.provider, meter.limiter.state, now)
        return meter.gate.shut()

    def _given_up(self, broken: Broken) -> Halt:
        return self._meter.gate.close(Halt("provider", broken.error)).again()

    def _open(self) -> None:
        meter, worst = self._meter, self._worst
        try:
            self._attempt = meter.line.journal.open_attempt(
                meter.line.run,
                self._key,
                self._context.phase,
                meter.spec.model,
                reserved_tokens=worst.tokens if worst.bounded else None,
                reserved_usd=worst.usd,
            )
        except (StorageError, LeaseLost) as error:
            # A journal that cannot note the call, or may not, forbids it.
            if isinstance(error, LeaseLost):
                raise meter.gate.close(Halt("lease", error)).again() from error
            raise meter.storage_halt(error) from error
        meter.line.traffic.count("made")
        self._tries.made += 1

    def _leave(self, *, met: bool, lead: bool = False) -> None:
        """Give back what the attempt held; a ticket that has not ended is dropped.

        Args:
            met: Whether the attempt has come to something.
            lead: Whether the call still goes ahead of the others, and makes another attempt. It keeps its
                place then: those who wait for it may have all the others.
        """
        if self._ticket is not None:
            self._ticket.dropped()
            self._before, self._ticket = self._ticket, None
        if lead:
            return
        if self._ahead:
            self._ahead = False
            self._meter.model.back(met=met)
        self._give_place_back()

    def _give_place_back(self) -> None:
        if self._placed and self._meter.place is not None:
            self._placed = False
            self._meter.place.release()

    def _ended(self, error: BaseException) -> float | None:
        """Book an attempt that ended with an error.

        Returns:
            Seconds until the next; None: the error holds.
        """
        met = lead = False
        try:
            if isinstance(error, Halt):
                return None  # the journal could not note the outcome: the attempt stays open, for `reconcile`
            if isinstance(error, GeneratorExit) and self.shown is None:
                # Of a task that nobody has any more, maybe in a thread that is just writing to the journal.
                self._meter.line.put_off.append(self._abandoned)
                return None
            if not isinstance(error, Exception):
                self._abandoned()
                return None
            failure = understood(error, self._around)
            nobody = self._tries.nobody_there(failure)
            met = failure.remedy != "stop" and not self._tries.refused(failure)
            pause = self._failed(error, failure, nobody_there=nobody)
            lead = nobody and pause is not None
            return pause
        finally:
            self._leave(met=met, lead=lead)

    def _failed(self, error: Exception, failure: Failure, *, nobody_there: bool) -> float | None:
        meter, tries = self._meter, self._tries
        counts = True
        if isinstance(error, UnusableAnswer):
            if self._reserved is not None:  # the provider's wire knew it; else what it cost is booked already
                self._answered(None)
                self._book(None, failure.code, billed=True)
        else:
            said = explained(error, failure, meter.spec.model)
            if failure.remedy != "give_up":
                meter.gate.account.failed(said)
            self._book(None, failure.code, billed=failure.sent)
            counts = tries.told(failure, said, self._ticket)
        final = self.shown is not None and self.shown.any
        attempt = Attempt(error, failure, self._ticket, counts=counts, nobody_there=nobody_there, final=final)
        return tries.after(attempt)

    def _abandoned(self) -> None:
        """What ended the attempt came through it: the call may have been billed."""
        self._book(None, "abandoned", billed=True)

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, but no longer than calls may be made."""
        clock = self._meter.line.clock
        until = clock.monotonic() + seconds
        while not self._waits_no_more() and (left := until - clock.monotonic()) > 0:
            clock.sleep(min(left, _GLANCE))

    def _book(self, usage: Usage | None, reason: str, *, billed: bool) -> None:
        meter = self._meter
        try:
            meter.line.journal.fail(self._attempt, reason, usage=usage, billed=billed)
        except StorageError as error:
            raise meter.storage_halt(error) from error
        if not billed:
            self._settle(0, 0.0)
        else:
            self._settle(total(usage), usage.usd if usage else None)

    def _settle(self, tokens: int | None, usd: float | None) -> None:
        """Give back what was set aside, once: an interrupt may come when it is done, and be booked too."""
        thread, self._reserved = self._reserved, None
        if thread is not None:
            self._meter.gate.account.settle(self._worst, tokens, usd, thread)
