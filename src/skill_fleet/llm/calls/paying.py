"""One call being paid for: its attempts, one after another, each reserved, noted, and booked however it ends.

`with paying:` is one attempt, for threads and for tasks alike, whole or streamed. To enter it is to wait
until it may be made: for a place, for the first call to a model that nobody knows yet, for the account's
limiter, and at last for room in the budget, so that nothing is set aside for what only waits. To leave it
with an error is to book it. An error that may pass is waited out and swallowed, and the loop around makes the
next attempt.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from dspy._vendor.lm15.serde import response_to_dict
from dspy.lm15 import Request, Response

from skill_fleet.foundation.errors import LeaseLost, ProviderError, StorageError
from skill_fleet.llm.call_context import CallContext, current_subject
from skill_fleet.llm.calls.answers import as_text, total, unusable
from skill_fleet.llm.calls.meter import Meter
from skill_fleet.llm.calls.proposals import TOO_LONG
from skill_fleet.llm.calls.remembered import unchangeable
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained, note_attempts, understand
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.limits.limiter import Broken, Ticket
from skill_fleet.llm.pricing import cost_of, worst_case

# How often one who waits looks whether it may still go on, in seconds.
_GLANCE = 0.2
# Bytes of a prompt to a token, about: what a provider counts against its limit until it knows better.
_BYTES_A_TOKEN = 4
# Most attempts to connect to an address where nobody ever was.
_KNOCKS = 3


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
        self._made = 0
        self._used_up = 0
        self._placed = self._ahead = False
        self._ticket: Ticket | None = None
        self._before: Ticket | None = None  # of the last attempt
        self._turned_away: float | None = None  # when first
        self.shown: Shown | None = None

    def __enter__(self) -> Self:
        meter = self._meter
        if meter.place is not None and not self._placed:
            meter.place.acquire()
            self._placed = True
        with self._given_back():
            if meter.limiter is not None:
                self._ahead = self._ahead or meter.model.ahead(meter.gate.shut)
                if self._ahead and not self._made:
                    meter.limiter.asked_anew(meter.spec.model)
                self._ticket = meter.limiter.admit(
                    meter.quota, self._expected(), self._waits_no_more, self._before
                )
            meter.gate.enter(self._worst)  # raises where the waiting was given up since it is shut
            self._open()
        return self

    async def __aenter__(self) -> Self:
        meter = self._meter
        if meter.place is not None and not self._placed:
            await meter.place.aacquire()
            self._placed = True
        with self._given_back():
            if meter.limiter is not None:
                self._ahead = self._ahead or await meter.model.awaited_ahead(meter.gate.shut)
                if self._ahead and not self._made:
                    meter.limiter.asked_anew(meter.spec.model)
                self._ticket = await meter.limiter.aadmit(
                    meter.quota, self._expected(), self._waits_no_more, self._before
                )
            await meter.gate.aenter(self._worst)
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
        """What breaks the waiting off leaves nothing held."""
        try:
            yield
        except Broken as broken:
            self._leave(met=False)
            raise self._given_up(broken) from broken
        except BaseException:
            self._leave(met=False)
            raise

    def settled(self, response: Response) -> Response:
        """Store the answer of the attempt and book what it cost.

        Returns:
            The answer as whoever asks again will get it.

        Raises:
            UnusableAnswer: It is none.
        """
        meter = self._meter
        dollars = cost_of(meter.spec, meter.price, self._request, response)
        usage = Usage(response.usage.input_tokens, response.usage.output_tokens, dollars)
        if self._ticket is not None:
            self._ticket.answered(total(usage))  # first: others need not wait until it is written
        meter.model.answers(usage.output_tokens)
        meter.gate.account.answered()
        problem = unusable(response)
        if problem is not None:
            self._book(usage, problem.code or "unusable", billed=True)
            raise problem
        body, exact = as_text(response_to_dict(response, include_provider_data=True))
        try:
            stored = meter.line.journal.settle(self._attempt, self._key, meter.spec.model, body, usage)
        except StorageError as error:
            raise meter.storage_halt(error) from error
        meter.gate.account.settle(self._worst, total(usage), usage.usd)
        if stored is body and exact and unchangeable(response):
            return meter.given(response, body, self._key, self._context)
        # Read back, so that the caller gets what whoever replays it will get.
        return meter.parsed(stored, self._key, self._context)

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
            # Nothing was sent: a journal that cannot note the call, or may not, forbids it.
            meter.gate.account.settle(worst, 0, 0.0)
            if isinstance(error, LeaseLost):
                raise meter.gate.close(Halt("lease", error)).again() from error
            raise meter.storage_halt(error) from error
        meter.line.traffic.count("made")
        self._made += 1

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
            if not isinstance(error, Exception):
                # It came through the attempt itself: the call may have been billed.
                self._book(None, "abandoned", billed=True)
                return None
            failure = understand(error)
            nobody = self._nobody_there(failure)
            met = failure.remedy != "stop" and not self._refused(failure)
            pause = self._failed(error, failure)
            lead = nobody and pause is not None
            return pause
        finally:
            self._leave(met=met, lead=lead)

    def _failed(self, error: Exception, failure: Failure) -> float | None:
        meter = self._meter
        counts = True
        if not isinstance(error, UnusableAnswer):
            said = explained(error, failure, meter.spec.model)
            if failure.remedy != "give_up":
                meter.gate.account.failed(said)
            self._book(None, failure.code, billed=failure.sent)
            counts = self._told(failure, said)
        self._used_up += counts
        nobody = self._nobody_there(failure)
        if failure.remedy == "retry" and not self._last(nobody_there=nobody):
            if meter.gate.closed is not None:
                raise meter.gate.closed.again() from error
            return self._pause(failure, counts=counts)
        note_attempts(error, self._made)
        stop = failure.remedy == "stop" or nobody or self._refused(failure)
        self._raise_halt(error, failure, stop=stop)
        return None

    def _raise_halt(self, error: Exception, failure: Failure, *, stop: bool) -> None:
        """Raise what a failure that holds comes to beyond the call, if to anything."""
        meter = self._meter
        halts = stop or meter.on_failure == "halt"
        # Whose own request was why: there a search can go on without it. That is known of an
        # answer of no use and of a request that is refused; a server that fails may be about to be gone.
        own = not stop and (failure.remedy == "give_up" or isinstance(error, UnusableAnswer))
        said = explained(error, failure, meter.spec.model)
        # Also noted where the gate has been closed meanwhile: whoever resumes does not pay for it again.
        less = meter.without_it(self._key, said) if halts and own else None
        if meter.gate.closed is not None:
            raise meter.gate.closed.again() from error
        if less is not None:
            raise less from error
        if halts:
            halt = Halt("provider", said, current_subject() if own else None)
            raise meter.gate.close(halt).again() from error

    def _last(self, *, nobody_there: bool) -> bool:
        if self.shown is not None and self.shown.any:
            return True
        if self._ticket is not None and self._ticket.overdue:
            return True
        attempts = self._meter.line.retry.attempts
        return self._used_up >= (min(_KNOCKS, attempts) if nobody_there else attempts)

    def _nobody_there(self, failure: Failure) -> bool:
        """Whether there is no connection to an address that never answered this process: it may be wrong."""
        meter = self._meter
        return meter.limiter is not None and failure.unreached and not meter.model.reached

    def _told(self, failure: Failure, said: ProviderError) -> bool:
        """Tell the limiter of a failure.

        Returns:
            Whether the attempt is one of those that the call has. Where the provider is away it is not: how
            long that is borne, the breaker decides. But an address where nobody ever was is soon found out.
            Nor is it one that was turned away for the rate, for as long: there was no room yet.
        """
        if self._ticket is None:
            return True
        self._ticket.failed(failure, said)
        if failure.code == "rate_limit":
            return not self._room_may_come()
        return not self._ticket.excused or not (failure.sent or self._meter.model.reached)

    def _room_may_come(self) -> bool:
        """Whether the call was turned away for the first time not long ago: others may have had the luck."""
        now = self._meter.line.clock.monotonic()
        self._turned_away = now if self._turned_away is None else self._turned_away
        return now - self._turned_away < self._meter.line.retry.outage

    def _refused(self, failure: Failure) -> bool:
        """Whether a provider that has answered nothing yet refuses a request: it would refuse any.

        What is withheld is not refused. Nor is a proposal that is too long: an optimizer can write a shorter
        one, and a model that only proposes is asked nothing else.
        """
        meter = self._meter
        if meter.limiter is None or meter.model.answered or failure.remedy != "give_up":
            return False
        too_long = failure.code == TOO_LONG
        return failure.code != "content_filter" and not (too_long and meter.proposing is not None)

    def _pause(self, failure: Failure, *, counts: bool) -> float:
        retry = self._meter.line.retry
        if self._ticket is not None and not self._ticket.alone and (not counts or failure.retry_after):
            return 0.0  # the limiter lets nobody through before it makes sense
        if failure.code == "truncated":
            return 0.0  # it was too long, whatever the time
        return retry.pause(max(1, self._used_up), failure.retry_after, self._key)

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
            meter.gate.account.settle(self._worst, 0, 0.0)
        else:
            meter.gate.account.settle(self._worst, total(usage), usage.usd if usage else None)
