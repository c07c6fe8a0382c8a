"""What follows a failed attempt: another one after a pause, or an error, and how far that error reaches."""

from dataclasses import dataclass

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.call_context import current_subject
from skill_fleet.llm.calls.meter import Meter
from skill_fleet.llm.calls.proposals import TOO_LONG
from skill_fleet.llm.calls.way import NotStreamed
from skill_fleet.llm.failures import Failure, UnusableAnswer, explained, note_attempts
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Ticket

# Most attempts to connect to an address where nobody ever was.
_KNOCKS = 3


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed, and was booked.

    Attributes:
        error: What it failed with.
        failure: What that means.
        ticket: What the limiter let it go with, if there is one; it has been told.
        counts: Whether it uses up one of those that the call has; see `Tries.told`.
        nobody_there: See `Tries.nobody_there`.
        final: Whether the call cannot be made again whatever happened.
    """

    error: Exception
    failure: Failure
    ticket: Ticket | None
    counts: bool
    nobody_there: bool
    final: bool


class Tries:
    """The attempts of one call.

    Args:
        meter: Of the model it is made with.
        key: Of the call.

    Attributes:
        made: How many have begun.
    """

    def __init__(self, meter: Meter, key: str) -> None:
        self._meter = meter
        self._key = key
        self._used_up = 0
        self._turned_away: float | None = None  # when first
        self.made = 0

    def nobody_there(self, failure: Failure) -> bool:
        """Whether there is no connection to an address that never answered this process: it may be wrong."""
        meter = self._meter
        return meter.limiter is not None and failure.unreached and not meter.model.reached

    def refused(self, failure: Failure) -> bool:
        """Whether a provider that has answered nothing yet refuses a request: it would refuse any.

        What is withheld is not refused. Nor is a proposal that is too long: an optimizer can write a shorter
        one, and a model that only proposes is asked nothing else.
        """
        meter = self._meter
        if meter.limiter is None or meter.model.answered or failure.remedy != "give_up":
            return False
        too_long = failure.code == TOO_LONG
        return failure.code != "content_filter" and not (too_long and meter.proposing is not None)

    def told(self, failure: Failure, said: ProviderError, ticket: Ticket | None) -> bool:
        """Tell the limiter of a failure.

        Args:
            failure: What the failure means.
            said: The same for the user.
            ticket: Of the attempt.

        Returns:
            Whether the attempt is one of those that the call has. Where the provider is away it is not: how
            long that is borne, the breaker decides. But an address where nobody ever was is soon found out.
            Nor is it one that was turned away for the rate, for as long: there was no room yet.
        """
        if ticket is None:
            return True
        ticket.failed(failure, said)
        if failure.code == "rate_limit":
            return not self._room_may_come()
        return not ticket.excused or not (failure.sent or self._meter.model.reached)

    def after(self, attempt: Attempt) -> float | None:
        """What follows.

        Returns:
            Seconds until the next attempt; None: there is none, and the error holds.

        Raises:
            Halt: The run ends with it, or has ended meanwhile.
            BaseException: The call is done without, where a search can be; see `Meter.without_it`.
        """
        meter, failure = self._meter, attempt.failure
        self._used_up += attempt.counts
        if failure.remedy == "retry" and not self._last(attempt):
            if meter.gate.closed is not None:
                raise meter.gate.closed.again() from attempt.error
            return self._pause(attempt)
        note_attempts(attempt.error, self.made)
        self._raise_halt(attempt)
        return None

    def _raise_halt(self, attempt: Attempt) -> None:
        """Raise what a failure that holds comes to beyond the call, if to anything."""
        meter, error, failure = self._meter, attempt.error, attempt.failure
        stop = failure.remedy == "stop" or attempt.nobody_there or self.refused(failure)
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

    def _last(self, attempt: Attempt) -> bool:
        if attempt.final or (attempt.ticket is not None and attempt.ticket.overdue):
            return True
        attempts = self._meter.line.retry.attempts
        return self._used_up >= (min(_KNOCKS, attempts) if attempt.nobody_there else attempts)

    def _room_may_come(self) -> bool:
        """Whether the call was turned away for the first time not long ago: others may have had the luck."""
        now = self._meter.line.clock.monotonic()
        self._turned_away = now if self._turned_away is None else self._turned_away
        return now - self._turned_away < self._meter.line.retry.outage

    def _pause(self, attempt: Attempt) -> float:
        retry, failure, ticket = self._meter.line.retry, attempt.failure, attempt.ticket
        if ticket is not None and not ticket.alone and (not attempt.counts or failure.retry_after):
            return 0.0  # the limiter lets nobody through before it makes sense
        if failure.code == "truncated":
            return 0.0  # it was too long, whatever the time
        if isinstance(attempt.error, NotStreamed):
            return 0.0  # the next one is asked for whole
        return retry.pause(max(1, self._used_up), failure.retry_after, self._key)
