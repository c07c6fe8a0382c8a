"""The rate that a provider was found to bear, learned from the calls it turns away.

Nothing is known, nothing is slowed. The first call turned away sets the rate to a little less than what was
accepted before it. Later ones lower it by a factor, and leave a ceiling. While calls are answered the rate
rises towards just below that ceiling, rests there, and only then looks beyond.
"""

import itertools
import math
from collections import deque
from dataclasses import dataclass

from skill_fleet.llm.limits.pace import Pace

_LOOKBACK = 60.0
_REMEMBERED = 10_000
_MARGIN = 0.97
_STEEPEST = 0.85
# A cut that comes so soon after another, in seconds, and with so many turned away in between, is steeper: the
# provider had room saved up, and what it took then is no rate.
_QUICK, _CLEAR, _HALF = 4.0, 4, 0.5
# The shortest period that providers count in, and how often something is put down to what came before a cut.
_PERIOD, _FEW, _FEW_SENT = 1.0, 2, 5
_LAST = 60
_TRIAL = 0.6
_UNSURE = 20
_DOUBLING = 1.0
_SOON = 0.7


@dataclass(eq=False)
class Sent:
    """A call as far as the rate is concerned.

    Attributes:
        at: When it was let go, in monotonic seconds.
        number: Its place in the order of all calls of the account.
        accepted: Whether it was not turned away; true until known better.
    """

    at: float
    number: int
    accepted: bool = True


class LearnedRate:
    """Calls a second, once there is a reason to count them. Not locked: its owner is.

    Args:
        slowest: It never falls below.
    """

    def __init__(self, slowest: float) -> None:
        self._slowest = slowest
        self._pace = Pace()
        self._sent: deque[Sent] = deque(maxlen=_REMEMBERED)
        self._base: float | None = None
        self._ceiling: float | None = None
        self._quiet = 0.0
        self._blind = False
        self._cut = 0
        self._cut_at = -math.inf
        self._remnants = 0
        self._asked = 0.0
        self._least = 1.0
        self._stale = False
        self._chance = 0.0
        self._trial = False
        self._hearsay = False

    @property
    def rate(self) -> float | None:
        """Calls a second; None as long as no limit was met."""
        if self._stale:
            self._correct()
        if self._base is None:
            return None
        if self._trial:
            return self._base * _TRIAL
        if self._blind:
            return self._base * 2.0 ** min(30.0, self._quiet / _DOUBLING)
        if self._ceiling is None:
            rested = max(15.0, min(60.0, 60.0 / self._base))
            return self._base * (1.0 + (max(0.0, self._quiet - rested) / (2.0 * rested)) ** 2)
        return self._below(self._ceiling)

    def _below(self, ceiling: float) -> float:
        assert self._base is not None  # noqa: S101 - its caller looked
        top = max(self._base, 0.97 * ceiling)
        rise = max(60.0, 200.0 / top)
        if self._quiet < rise:
            return top - (top - self._base) * (1.0 - self._quiet / rise) ** 3
        return top * (1.0 + (max(0.0, self._quiet - 1.5 * rise) / rise) ** 2)

    def wait(self, now: float) -> float:
        """Seconds until the next call may go."""
        return 0.0 if self._base is None else self._pace.wait(now)

    def take(self, call: Sent) -> None:
        """A call goes."""
        self._sent.append(call)
        rate = self.rate
        if rate is not None:
            self._pace.take(call.at, 1.0 / rate)

    def hold(self, until: float) -> None:
        """After a pause calls go one by one, not all at once."""
        self._pace.hold(until)

    def answered(self, call: Sent) -> None:
        """A call was answered: at this rate all is well."""
        rate = self.rate
        if rate is not None and call.number >= self._cut:
            self._quiet += 1.0 / rate

    def is_late(self, call: Sent) -> bool:
        """Whether a call was let go at another rate than the present one: it says nothing of it."""
        return call.number < self._cut

    def lately(self) -> tuple[int, int]:
        """Of the last calls at the present rate: how many were turned away so far, and of how many."""
        last = list(itertools.islice(reversed(self._sent), _LAST))
        now = [call for call in last if not self.is_late(call)]
        return sum(not call.accepted for call in now), len(now)

    def rejected(
        self, call: Sent, now: float, asked: float, *, chance: float = 0.0, more: bool = True
    ) -> bool:
        """A call was turned away.

        Args:
            call: Which.
            now: When that became known.
            asked: Seconds the provider asked to wait; 0 where it did not.
            chance: Share of calls that are turned away whatever the rate.
            more: Whether others want to call, too.

        Returns:
            Whether it was let go at the present rate. The others of one herd say nothing new: they only
            correct what was taken for accepted.
        """
        call.accepted = False
        self._hearsay = False
        if self.is_late(call):
            self._stale = True
            return False
        if self._base is not None and (now - self._cut_at < _SOON or self._is_remnant(now, asked)):
            return False
        self._chance = chance
        before, since = self.rate, self._cut
        soon = now - self._cut_at < _QUICK
        refused, lately = self.lately()
        known = self._blind and lately >= _UNSURE
        # Whole seconds were rounded up: a window that ends in 0.2 s is told as 1.
        self._mark(now, max(0.0, asked - 1.0) if asked.is_integer() else asked, least=0.0)
        self._ceiling = before
        measured = self._measured() if before is None else self._measured(since)
        if before is not None:
            steepest = _HALF if soon and refused >= _CLEAR else _STEEPEST
            measured = min(before, max(measured or 0.0, 0.0 if known and measured else steepest * before))
        self._blind = measured is None or (before is None and more and self._mild())
        found = 1.0 / max(1.0, self._asked) if measured is None else measured * _MARGIN
        self._base = max(self._slowest, found)
        return True

    def _is_remnant(self, now: float, asked: float) -> bool:
        """Whether what was sent before the first cut still fills a window.

        A provider says when the first place is free, not when those of the whole herd are. What it turns away
        then waits once more for as long as it says, and tells nothing of the pace.
        """
        first = asked > 0 and self._ceiling is None and now - self._cut_at <= self._asked + _PERIOD
        if not first or self.lately()[1] > _FEW_SENT:
            return False
        self._remnants += 1
        return self._remnants <= _FEW

    def _mild(self) -> bool:
        """Whether so few calls went before the cut that their rate is hardly more than what was asked for."""
        before = [call for call in itertools.islice(reversed(self._sent), _LAST) if self.is_late(call)]
        refused = sum(not call.accepted for call in before)
        return len(before) < _UNSURE and refused <= 2

    def exhausted(self, now: float, until: float) -> None:
        """An answer said that nothing is left: as good as a rejection, where no rate is known yet.

        Args:
            now: The time.
            until: When it said that there is more.
        """
        if self._base is not None or until <= now:
            return
        self._mark(now, 0.0, least=until - now)
        measured = self._measured()
        if measured is not None:
            self._base, self._hearsay = measured * _MARGIN, True
            self._pace.hold(until)

    def contradicted(self) -> None:
        """What an answer said of the limit was wrong: a rate that is known from there alone is none."""
        if self._hearsay:
            self.forget()

    def forget(self) -> None:
        """It was not the rate after all."""
        self._hearsay = False
        self._base = self._ceiling = None
        self._blind, self._quiet = False, 0.0

    def try_less(self, now: float) -> None:
        """Go on much slower for a few calls, to see whether fewer are turned away."""
        rate = self.rate
        if rate is not None:
            self._mark(now, 0.0, least=0.0)
            self._base, self._trial = min(rate, max(self.made(now), self._slowest)), True

    def made(self, now: float) -> float:
        """Calls a second that went lately, whatever became of them."""
        return (
            sum(1 for _ in itertools.takewhile(lambda call: now - call.at < 5.0, reversed(self._sent))) / 5.0
        )

    def tried(self, rate: float | None) -> None:
        """That is known.

        Args:
            rate: Calls a second to go back to, and soon beyond, where it did not help or nobody can say;
                None where it did.
        """
        self._trial = False
        if rate is not None:
            self._base, self._ceiling = max(rate, self._base or 0.0), None
            self._blind, self._quiet = True, 0.0

    def _mark(self, now: float, asked: float, *, least: float) -> None:
        """Calls up to here were let go at the rate that was; from here on it is another."""
        self._cut = self._sent[-1].number + 1 if self._sent else 0
        self._cut_at, self._asked, self._least = now, asked, max(1.0, least)
        self._quiet, self._stale, self._remnants = 0.0, False, 0

    def _correct(self) -> None:
        """Look again at what the first rate was found from: more of it was turned away since."""
        self._stale = False
        if self._ceiling is None and self._base is not None:
            self._blind = self._blind and self._mild()
            self._base = max(self._slowest, (self._measured() or self._base) * _MARGIN)

    def _measured(self, since: int = 0) -> float | None:
        """Accepted calls a second before the last cut; the best of all spans. None: none was accepted.

        What the provider asked to wait is part of the span: a limit by the minute, used up in five seconds,
        is no rate of those five seconds. A reset that a header names may as well be one full period after the
        last call as the end of the present one: it is only the least length of a span.

        Args:
            since: Number of the first call that counts: what went before, at another rate, may have used up
                what a provider had saved.
        """
        best, accepted = 0.0, 0
        for call in reversed(self._sent):
            if call.number >= self._cut:
                continue
            if call.number < since or call.at < self._cut_at - _LOOKBACK:
                break
            accepted += call.accepted
            best = max(best, accepted / max(self._least, self._cut_at - call.at + self._asked))
        return best / (1.0 - self._chance) or None
