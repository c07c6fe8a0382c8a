"""Caps that hold: a call is reserved at its worst case before it is made, and settled at what it cost.

What is only set aside comes back: a call that does not fit beside the worst cases of the calls under way
waits for some of them to end. A gate closes for a call that does not fit beside what is really spent.

An `Account` counts a whole run; a `Gate` is one stage's door to it. The search stage's gate leaves room for
the sealed test; when it closes it stays closed, so tasks that an optimizer left running cannot spend what
the next stage was promised.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import BudgetExhausted, Interrupted, ProviderError
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.outage import Outage

# How often one who waits for room looks by himself, in seconds: a thread, which is woken too, and a task.
_GLANCE = 0.2
_TASK_GLANCE = 0.01
# No attempt takes longer (`ModelSpec.timeout`): where nothing ended for so long, nothing will.
_PATIENCE = 130.0


@dataclass(frozen=True)
class Limits:
    """Caps over everything a run does; None is no cap."""

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    minutes: float | None = None

    def minus(self, held: "Limits") -> "Limits":
        """These limits less what is held back, never below zero."""
        return Limits(
            usd=_less(self.usd, held.usd),
            calls=None if self.calls is None else max(0, self.calls - (held.calls or 0)),
            tokens=None if self.tokens is None else max(0, self.tokens - (held.tokens or 0)),
            minutes=_less(self.minutes, held.minutes),
        )


def _less(cap: float | None, held: float | None) -> float | None:
    return None if cap is None else max(0.0, cap - (held or 0.0))


@dataclass(frozen=True)
class Worst:
    """The most one call can use.

    Attributes:
        tokens: Sent, and answered at most.
        usd: None where the price or the longest answer is unknown.
        bounded: Whether it is known how long an answer can be; where not, `tokens` is only what is sent.
    """

    tokens: int
    usd: float | None
    bounded: bool = True


@dataclass
class _Totals:
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0


@dataclass
class Account:
    """What a run has spent and reserved, over all phases and threads.

    Args:
        limits: The run's caps.
        clock: For the cap on minutes; the time a run was not running does not count.
        calls: Attempts made before, when a run is resumed.
        tokens: Tokens that count as spent before (`Spent.bound_tokens` of the journal).
        usd: Dollars that count as spent before (`Spent.bound_usd`).
        seconds: Seconds run before.
    """

    limits: Limits
    clock: Clock
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    # Re-entrant: a signal handler closes the gate in the very thread that may be passing it.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        self._started = self.clock.monotonic() - self.seconds
        self._spent = _Totals(self.calls, self.tokens, self.usd)
        self._reserved = _Totals()
        self._under_way: Counter[int] = Counter()  # calls, by the thread that makes them
        self._settled_at = self.clock.monotonic()
        self.changed = threading.Condition(self.lock)
        self.outage = Outage()

    def elapsed(self) -> float:
        """Seconds this run has been running, earlier processes included."""
        return self.clock.monotonic() - self._started

    def late(self, ceiling: Limits) -> bool:
        """Whether the cap on minutes is reached."""
        return ceiling.minutes is not None and self.elapsed() > ceiling.minutes * 60

    def over(self, ceiling: Limits, worst: Worst) -> str | None:
        """Which cap one more call would break, in words; None when none. Call with the lock held."""
        calls = self._spent.calls + 1
        tokens = self._spent.tokens + self._reserved.tokens + worst.tokens
        usd = self._spent.usd + self._reserved.usd + (worst.usd or 0.0)
        if self.late(ceiling):
            return f"{self.limits.minutes:g} minutes"
        if ceiling.calls is not None and calls > ceiling.calls:
            return "1 call" if self.limits.calls == 1 else f"{self.limits.calls} calls"
        if ceiling.tokens is not None and tokens > ceiling.tokens:
            return f"{self.limits.tokens} tokens"
        if ceiling.usd is not None and usd > ceiling.usd:
            return f"${self.limits.usd:g}"
        return None

    def only_reserved(self, ceiling: Limits, worst: Worst) -> bool:
        """Whether a call breaks a cap only by what is set aside for others. Call with the lock held."""
        return (
            not self.late(ceiling)
            and (ceiling.calls is None or self._spent.calls < ceiling.calls)
            and (ceiling.tokens is None or self._spent.tokens + worst.tokens <= ceiling.tokens)
            and (ceiling.usd is None or self._spent.usd + (worst.usd or 0.0) <= ceiling.usd)
        )

    def will_settle(self, since: float, *, blocking: bool) -> bool:
        """Whether a call is under way that can end while one waits for it. Call with the lock held.

        Args:
            since: When the waiting began, on the clock.
            blocking: Whether this thread is blocked by it: then tasks of its own cannot go on.
        """
        if blocking and self._under_way[threading.get_ident()] > 0:
            return False
        quiet = self.clock.monotonic() - max(since, self._settled_at)
        return bool(self._under_way) and quiet < _PATIENCE

    def shortage(self, ceiling: Limits, worst: Worst) -> str:
        """What is spent and what one more call may take, of the cap it breaks. Call with the lock held."""
        spent, aside = self._spent, self._reserved
        if self.late(ceiling) or (ceiling.calls is not None and spent.calls >= ceiling.calls):
            return ""
        if ceiling.tokens is not None and spent.tokens + aside.tokens + worst.tokens > ceiling.tokens:
            return f": {spent.tokens:,} are used, and the next call may take {worst.tokens:,}"
        dollars = worst.usd or 0.0
        if ceiling.usd is not None and spent.usd + aside.usd + dollars > ceiling.usd:
            return f": ${spent.usd:.4g} is spent, and the next call may take ${dollars:.2g}"
        return ""

    def reserve(self, worst: Worst) -> int:
        """Set a call's worst case aside. Call with the lock held.

        Returns:
            The thread that makes the call, for `settle`: a stream may end in another.
        """
        thread = threading.get_ident()
        self._under_way[thread] += 1
        self._spent.calls += 1
        self._reserved.tokens += worst.tokens
        self._reserved.usd += worst.usd or 0.0
        return thread

    def answered(self) -> None:
        """An attempt brought an answer: the provider is there."""
        with self.lock:
            self.outage.answer()

    def failed(self, error: ProviderError) -> None:
        """An attempt failed, and not by the fault of its request."""
        with self.lock:
            self.outage.failure(error)

    def settle(self, worst: Worst, tokens: int | None, usd: float | None, thread: int | None = None) -> None:
        """Replace a call's worst case by what it used; an unknown use keeps the worst case.

        Args:
            worst: As it was reserved.
            tokens: Input and output together.
            usd: Dollars.
            thread: Whose call it is; None is this one.
        """
        thread = threading.get_ident() if thread is None else thread
        with self.lock:
            self._reserved.tokens -= worst.tokens
            self._reserved.usd -= worst.usd or 0.0
            self._spent.tokens += worst.tokens if tokens is None else tokens
            self._spent.usd += (worst.usd or 0.0) if usd is None else usd
            self._under_way[thread] -= 1
            if not self._under_way[thread]:
                del self._under_way[thread]
            if not self._under_way:
                self._reserved = _Totals()  # without what sums of floats leave behind
            self._settled_at = self.clock.monotonic()
            self.changed.notify_all()


_NOT_YET = Halt("budget", BudgetExhausted("There is no room beside the calls under way."))


class Gate:
    """One stage's door to the account: every call of the stage passes here before it is made.

    Args:
        account: What is shared by all stages.
        hold: What later stages were promised and this one may not use.
        on_close: Told once, with the Halt, when the door closes.
    """

    def __init__(
        self, account: Account, hold: Limits = Limits(), *, on_close: Callable[[Halt], None] | None = None
    ) -> None:
        self.account = account
        self.ceiling = account.limits.minus(hold)
        self._held = hold
        self._closed: Halt | None = None
        self._on_close = on_close

    @property
    def closed(self) -> Halt | None:
        """Why no further call may be made; None while calls may be made."""
        return self._closed

    def shut(self) -> bool:
        """Whether no further call may be made, closed or out of time: `enter` would raise, and say why."""
        return self._closed is not None or self.account.late(self.ceiling)

    def enter(self, worst: Worst) -> int:
        """Reserve one call; wait while only what is set aside for calls under way leaves no room for it.

        Returns:
            The thread that makes the call, for `Account.settle`.

        Raises:
            Halt: The stage is closed, or a cap would be broken, which closes it.
        """
        since = self.account.clock.monotonic()
        with self.account.lock:
            while (found := self._reserved(worst, since, blocking=True)) is _NOT_YET:
                self.account.changed.wait(_GLANCE)
        if isinstance(found, Halt):
            raise self.close(found).again()
        return found

    async def aenter(self, worst: Worst) -> int:
        """The same, awaited: other tasks of the thread go on.

        Raises:
            Halt: The stage is closed, or a cap would be broken, which closes it.
        """
        since = self.account.clock.monotonic()
        while (found := self._reserved(worst, since, blocking=False)) is _NOT_YET:  # noqa: ASYNC110
            await asyncio.sleep(_TASK_GLANCE)
        if isinstance(found, Halt):
            raise self.close(found).again()
        return found

    def _reserved(self, worst: Worst, since: float, *, blocking: bool) -> Halt | int:
        """The thread of the call, once it is reserved; why it may not be made; or `_NOT_YET`."""
        account = self.account
        with account.lock:
            if self._closed is not None:
                return self._closed
            broken = account.over(self.ceiling, worst)
            if broken is None:
                return account.reserve(worst)
            if account.only_reserved(self.ceiling, worst) and account.will_settle(since, blocking=blocking):
                return _NOT_YET
            short = account.shortage(self.ceiling, worst)
            blamed = account.outage.blamed(broken) if account.late(self.ceiling) else None
        if blamed is not None:
            return Halt("provider", blamed)
        kept = " (the rest is kept for the sealed test)" if self._held != Limits() else ""
        message = f"The cap of {broken} is reached{short}{kept}."
        return Halt("budget", BudgetExhausted(message, hint="Raise the cap and resume the run."))

    def close(self, halt: Halt) -> Halt:
        """Let no further call through; the first reason stays.

        Returns:
            The reason in force.
        """
        with self.account.lock:
            first = self._closed is None
            if first:
                self._closed = halt
                self.account.changed.notify_all()
            reason = self._closed
        if first and self._on_close is not None:
            self._on_close(halt)
        assert reason is not None  # noqa: S101 - set above
        return reason

    def interrupt(self) -> None:
        """Close because the user asked to stop."""
        self.close(Halt("interrupted", Interrupted("Interrupted: no further model call is made.")))
