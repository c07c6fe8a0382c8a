"""How fast an account lets calls through, learned from those that it answers and those that it turns away."""

import math
import random

from skill_fleet.llm.limits.callers import Call
from skill_fleet.llm.limits.chance import Chance
from skill_fleet.llm.limits.learned_crowd import LearnedCrowd
from skill_fleet.llm.limits.learned_rate import LearnedRate

_GUESS = 1.0
"""Seconds to wait when a provider does not say how long, the first time."""


class AccountRate:
    """What is known of an account's rate: three explanations of a refusal, and a pause for everybody.

    Calls are turned away because they come too fast (`learned`), because too many are under way (`crowd`), or
    by chance, whatever their number (`chance`). Times are monotonic seconds. Not locked: its owner is.

    Args:
        longest: Most seconds that everybody can be made to wait at a time.
        rng: For jitter.

    Attributes:
        learned: The rate, once a call was turned away.
        crowd: How many at once, once that was found to be why.
        chance: Whether calls are turned away by chance.
        paused_until: Until when nobody goes.
        rejected: Calls that were turned away so far.
    """

    def __init__(self, longest: float, rng: random.Random) -> None:
        self.learned = LearnedRate(1.0 / longest)
        self.crowd = LearnedCrowd()
        self.chance = Chance()
        self.paused_until = -math.inf
        self.rejected = 0
        self._in_a_row = 0
        self._longest = longest
        self._rng = rng

    def wait(self, now: float, in_flight: int) -> float:
        """Seconds until a call may go; infinite where one that is under way has to end first."""
        if self.crowd.most is not None and in_flight >= self.crowd.most:
            return math.inf
        return max(self.paused_until - now, self.learned.wait(now))

    def answered(self, call: Call, now: float) -> None:
        """A call was answered."""
        self._in_a_row = 0
        self.learned.answered(call)
        self._told(call, now, refused=False)
        self.crowd.answered(call.under_way)

    def turned_away(self, call: Call, asked: float | None, now: float, *, more: bool) -> bool:
        """A call was turned away for its rate.

        Args:
            call: The call.
            asked: For how many seconds the provider asked not to come, if it did.
            now: The time.
            more: Whether others wait or are under way.

        Returns:
            Whether that is put down to chance: neither the pace is lowered for it, nor anybody else held up.
        """
        self.rejected += 1
        call.accepted = False
        tried = self._told(call, now, refused=True)
        if tried or (not self.learned.is_late(call) and self._explained(call, now)):
            return True
        before = self.learned.rate
        hold = min(asked or 0.0, self._longest)
        fresh = self.learned.rejected(call, now, hold, chance=self.chance.share, more=more)
        if fresh:
            self._in_a_row += 1
            if before is not None:
                self._looked_for_another_cause(call, before, now)
        if asked is not None:
            self._pause(asked, now)
        elif fresh:
            guess = _GUESS if before is None else _GUESS / 2
            self._pause(guess * 2.0 ** (min(self._in_a_row, 30) - 1), now)
        return False

    def _looked_for_another_cause(self, call: Call, before: float, now: float) -> None:
        """The rate was lowered before, and that did not help: too many at once, or chance."""
        if self.crowd.rejected(call.under_way):
            self.learned.forget()
        elif self.chance.blame(now, before):
            self.learned.try_less(now)

    def _explained(self, call: Call, now: float) -> bool:
        """Whether a refusal is put down to chance; now and then that is put to the test."""
        if not self.chance.explains(*self.learned.lately(), room=call.room):
            return False
        if not self.chance.on_trial and self.learned.rate is not None:
            made = self.learned.made(now)
            if self.chance.doubts(now, made):
                self.chance.highest = made
                self.learned.try_less(now)
        return True

    def _told(self, call: Call, now: float, *, refused: bool) -> bool:
        """What became of a call says whether calls are turned away by chance.

        Returns:
            Whether it has just been found out.
        """
        if self.learned.is_late(call) or not self.chance.ended(now, refused=refused):
            return False
        self.learned.tried(None if self.chance.helped else self.chance.highest if self.chance.share else 0.0)
        return True

    def _pause(self, seconds: float, now: float) -> None:
        """Everybody waits; a little longer than asked, and not all processes equally long."""
        until = now + min(self._longest, seconds * self._rng.uniform(1.0, 1.1))
        if until > self.paused_until:
            self.paused_until = until
            self.learned.hold(until)
