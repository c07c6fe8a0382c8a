"""The limiter of one account: every call waits here until it may be made.

One provider, address and key is one account, whatever the models, phases and runs of the process that use it.
"""

import contextvars
import math
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping

from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Call, Place, Quota
from skill_fleet.llm.limits.limiter_state import LimiterState, state_of
from skill_fleet.llm.limits.own_loop import STREAM_SECONDS, loop_of_this_thread, refusal, stands_still
from skill_fleet.llm.limits.rate_headers import left
from skill_fleet.llm.limits.waiting import TaskWaiter, ThreadWaiter

__all__ = ["Broken", "Limiter", "LimiterState", "Quota", "Ticket"]

# How often one who waits looks whether it still should, in seconds.
_GLANCE = 0.2


class Broken(Exception):
    """No call is let go: the provider refused the key, or answered nothing for too long, or it would hang.

    Args:
        error: The cause, for the user.
    """

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message)
        self.error = error


class Ticket:
    """Leave for one call. Exactly one of its methods ends it; a second one changes nothing."""

    def __init__(self, limiter: "Limiter", call: Call) -> None:
        self._limiter = limiter
        self._call = call
        self._open = True
        self.excused = False
        """After `failed`: the provider is out of order, which is not to be counted against this call."""
        self.alone = False
        """After `failed`: others go on, so a rest before the next attempt is this call's own affair."""
        self.overdue = False
        """After `failed`: an outage may take no longer, and no other call has failed: no attempt is left."""

    @property
    def probe(self) -> bool:
        """Whether this call asks on everybody's behalf if the provider is back."""
        return self._call.probe

    def begun(self) -> None:
        """The answer has begun to come: the provider is there, however long the rest takes. Ends nothing."""
        self._limiter._begun(self)  # noqa: SLF001

    def answered(self, tokens: int | None) -> None:
        """The provider answered.

        Args:
            tokens: Input and output together; None where it did not say.
        """
        self._limiter._end(self, lambda core, call, now: core.answered(call, tokens, now))  # noqa: SLF001

    def failed(self, failure: Failure, error: ProviderError | None = None) -> None:
        """The attempt failed.

        Args:
            failure: What that means.
            error: The same for the user; what `Broken` carries if this is what breaks.
        """
        cause = error or _plain(failure, self._call.model)

        def end(core: Admission, call: Call, now: float) -> None:
            alone = core.failed(call, failure, cause, now)
            self.overdue = call.overdue
            self.excused = not call.overdue and (call.probe or core.breaker.state != "closed")
            self.alone = alone and core.breaker.state == "closed"

        self._limiter._end(self, end)  # noqa: SLF001

    def dropped(self) -> None:
        """The call was not made after all, or nobody knows how it ended; a finalizer may say so, too."""
        self._limiter._drop(self)  # noqa: SLF001


_current: contextvars.ContextVar[Ticket | None] = contextvars.ContextVar("ticket", default=None)


class Limiter:
    """One account: one provider, address and key; for all threads and tasks of a process.

    Args:
        clock: For pauses and rates.
        longest_pause: Most seconds that a provider can make everybody wait at a time.
        outage_seconds: A provider that has answered nothing for so long, while it was asked, is given up.
        seed: For the jitter of pauses.
    """

    def __init__(self, clock: Clock, *, longest_pause: float, outage_seconds: float, seed: int = 0) -> None:
        self._clock = clock
        self._core = Admission(float(longest_pause), float(outage_seconds), random.Random(seed))
        # The garbage collector may end a call in the midst of anything, also in the thread that has the lock.
        # That must neither wait for itself nor meet what is half changed: whoever has the lock next ends it.
        self._lock = threading.RLock()
        self._holder = threading.Condition(self._lock)
        self._late: deque[Ticket] = deque()

    def admit(
        self, quota: Quota, tokens: int, stop: Callable[[], bool], before: Ticket | None = None
    ) -> Ticket | None:
        """Wait until a call may be made.

        Args:
            quota: What the model may use.
            tokens: What the call will take at most, input and output together.
            stop: Asked again and again while waiting.
            before: Of the last attempt at the same call. If that was a probe, it may probe again.

        Returns:
            Leave for one call, which has to be ended; None when `stop` said so.

        Raises:
            Broken: The provider was given up; or this is the thread of an event loop, and nobody but tasks
                of that loop could end what is waited for.
        """
        if stop():
            return None
        waiter, loop, came = ThreadWaiter(), loop_of_this_thread(), self._clock.monotonic()
        place = self._enter(_place(quota, tokens, waiter, before))
        try:
            while not self._taken(place) and not stop():
                if loop is not None:
                    self._not_for_itself(place, loop, came)
                seconds, timed = self._patience(place)
                if seconds > 0:
                    waiter.wait(self._clock, seconds, timed=timed)
                self._look(place)
        except BaseException:
            self._withdraw(place)
            raise
        return self._outcome(place)

    async def aadmit(
        self, quota: Quota, tokens: int, stop: Callable[[], bool], before: Ticket | None = None
    ) -> Ticket | None:
        """`admit`, awaited: the loop is never blocked."""
        if stop():
            return None
        waiter = TaskWaiter()
        place = self._enter(_place(quota, tokens, waiter, before))
        try:
            while not self._taken(place) and not stop():
                seconds, timed = self._patience(place)
                await waiter.wait(self._clock, seconds, timed=timed)
                self._look(place)
        except BaseException:
            self._withdraw(place)
            raise
        return self._outcome(place)

    def asked_anew(self, model: str) -> None:
        """A run that has asked nothing yet is about to: it asks, and is not told an old error.

        Args:
            model: `provider/name`.
        """
        with self._lock:
            self._core.breaker.asked_anew(self._clock.monotonic(), model)

    def headers(self, model: str, found: Mapping[str, str]) -> None:
        """What a response says of the limits: `x-ratelimit-*`, `anthropic-ratelimit-*`; others are ignored.

        Called from the thread or task of the call that was answered, it also knows how old that is.
        """
        said = left(found, self._clock.now())
        if not said:
            return
        ticket = _current.get()
        call = ticket._call if ticket is not None and ticket._limiter is self else None  # noqa: SLF001
        with self._lock:
            self._core.announced(model, said, call, self._clock.monotonic())

    def state(self) -> LimiterState:
        """The account as it is now."""
        with self._lock:
            self._end_late_ones()
            return state_of(self._core, self._clock.monotonic())

    def _enter(self, place: Place) -> Place:
        with self._lock:
            self._end_late_ones()
            self._core.enter(place, self._clock.monotonic())
        return place

    def _patience(self, place: Place) -> tuple[float, bool]:
        """Seconds to wait, and whether for time."""
        due = place.due
        return min(_GLANCE, max(0.0, due - self._clock.monotonic())), math.isfinite(due)

    def _taken(self, place: Place) -> bool:
        """Whether waiting is over. Leave that is taken is not passed on any more."""
        if not place.decided:
            return False
        with self._lock:
            self._core.taken(place)
            return place.decided

    def _not_for_itself(self, place: Place, loop: object, came: float) -> None:
        with self._lock:
            streams = self._clock.monotonic() - came >= STREAM_SECONDS
            if not place.decided and stands_still(self._core, place, loop, streams=streams):
                raise Broken(refusal(place.quota.model))

    def _look(self, place: Place) -> None:
        """Serve when somebody's time has come: the head of the queue may be a task whose loop is busy."""
        now = self._clock.monotonic()
        if self._late:
            with self._lock:
                self._end_late_ones()
        if place.absent:
            with self._lock:
                self._core.present(place, now)
        elif not place.decided and now >= min(place.due, self._core.due):
            with self._lock:
                self._core.serve(now)

    def _outcome(self, place: Place) -> Ticket | None:
        self._withdraw(place, unless_decided=True)
        if place.error is not None:
            raise Broken(place.error)
        if place.call is None:
            return None
        ticket = Ticket(self, place.call)
        _current.set(ticket)
        return ticket

    def _withdraw(self, place: Place, *, unless_decided: bool = False) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._core.taken(place)
            if not place.decided:
                self._core.leave(place, now)
            elif place.call is not None and not unless_decided:
                self._core.dropped(place.call, now)

    def _begun(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket._open:  # noqa: SLF001 - its maker
                self._core.begun(ticket._call, self._clock.monotonic())  # noqa: SLF001

    def _end(self, ticket: Ticket, how: Callable[[Admission, Call, float], None]) -> None:
        with self._lock:
            if ticket._open:  # noqa: SLF001 - its maker
                ticket._open = False  # noqa: SLF001
                how(self._core, ticket._call, self._clock.monotonic())  # noqa: SLF001

    def _drop(self, ticket: Ticket) -> None:
        try:
            self._holder.notify(0)
        except RuntimeError:  # this thread has not the lock
            self._end(ticket, Admission.dropped)
        else:
            self._late.append(ticket)

    def _end_late_ones(self) -> None:
        while self._late:
            ticket = self._late.popleft()
            if ticket._open:  # noqa: SLF001 - its maker
                ticket._open = False  # noqa: SLF001
                self._core.dropped(ticket._call, self._clock.monotonic())  # noqa: SLF001


def _place(quota: Quota, tokens: int, waiter: ThreadWaiter | TaskWaiter, before: Ticket | None) -> Place:
    place = Place(quota, tokens, waiter.wake)
    place.loop = waiter.loop if isinstance(waiter, TaskWaiter) else None
    if before is not None:
        call = before._call  # noqa: SLF001 - its maker
        place.probes, place.origin, place.began = call.probes, call.origin, call.began
    return place


def _plain(failure: Failure, model: str) -> ProviderError:
    return ProviderError(
        f"The model {model} failed ({failure.code}).",
        hint="Resume the run when the provider answers again.",
        code=failure.code,
    )
