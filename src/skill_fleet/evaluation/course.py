"""The course of a measurement: which example is next, and when so many fail that it is given up.

It is given up when more failed than are borne, and before that when it is clear that more will. If the
examples came at random, many failures among the first would say so; but data is often sorted, and what a
filter withholds may stand together at the top. So examples are tried in their order as long as all is well.
Once failures look too frequent, the rest is tried in an order that is drawn, and only what comes then is
evidence: a bet against "no more fail than are borne", whose stake is multiplied by each outcome as likely as
it is if more fail, over how likely it is at most if not. If not, the stake is a thousandfold at any time with
probability 1/1000 at most (Ville 1939; drawn without replacement as in Waudby-Smith and Ramdas 2020,
"Confidence sequences for sampling without replacement"): of a thousand measurements that would just be borne,
one is given up too soon. Where half may fail and everything does, it takes 3 examples and 11 more.

What is under way counts as not known yet, and what began after it is not looked at before: failures come
back sooner than answers. And as long as all speaks for giving up, no more is under way than that may take.
"""

import math
import random
import threading

SUSPECT = 3
"""From so many failures on it is looked at whether they are too frequent,"""
SURE = 1000.0
"""and the stake at which that is clear: one over the share of measurements given up too soon."""
_AT_ONCE = 12


def most_of(share: float, total: int) -> int:
    """The largest number that is not above this share of so many; 0.29 of 100 is 29, though not in floats."""
    return math.floor(share * total + 1e-9)


class Course:
    """The order of the examples, and whether further ones may begin. For threads.

    The threads that fail say so themselves: they would take their next example before the caller hears of it.

    Args:
        total: How many examples there are.
        most_failed: Largest share of them that may fail.
        rng: Draws the order of the rest.
    """

    def __init__(self, total: int, most_failed: float, rng: random.Random) -> None:
        self.given_up = False
        self._share = most_failed
        self._most = most_of(most_failed, total)
        self._order = list(range(total))
        self._rng = rng
        self._failed: dict[int, bool] = {}
        self._failures = 0
        self._begun = 0
        self._over = False
        self._bet: _Bet | None = None
        self._seen = 0
        self._changed = threading.Condition()

    def take(self) -> int | None:
        """The place of the next example; None when no further one may begin. Waits while that is in doubt."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or not self._in_doubt())
            if self._over or self._begun == len(self._order):
                return None
            self._begun += 1
            return self._order[self._begun - 1]

    def stop(self) -> None:
        """No further example begins."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def note(self, place: int, *, failed: bool) -> None:
        """An example ended."""
        with self._changed:
            self._failed[place] = failed
            self._failures += failed
            if self._bet is None and self._failures >= SUSPECT and self._too_frequent():
                self._draw()
            if self._failures > self._most or self._clear():
                self.given_up = self._over = True
            self._changed.notify_all()

    def _in_doubt(self) -> bool:
        """Whether enough are under way to decide whether the others are needed at all."""
        return self._bet is not None and self._bet.stake >= 1.0 and self._begun - self._seen >= _AT_ONCE

    def _too_frequent(self) -> bool:
        return self._failures > most_of(self._share, len(self._failed))

    def _draw(self) -> None:
        rest = self._order[self._begun :]
        self._rng.shuffle(rest)
        self._order[self._begun :] = rest
        self._seen = self._begun
        self._bet = _Bet(len(rest), self._most - self._failures, self._share)

    def _clear(self) -> bool:
        """Whether the bet is won, by what ended of the drawn examples without a gap."""
        while self._bet is not None and self._seen < self._begun and self._order[self._seen] in self._failed:
            self._bet.outcome(failed=self._failed[self._order[self._seen]])
            self._seen += 1
        return self._bet is not None and self._bet.stake >= SURE


class _Bet:
    """Against "at most so many of these fail": half on all of them, half on many.

    Args:
        left: How many there are.
        bearable: How many of them may fail.
        share: The share that may fail of all.
    """

    def __init__(self, left: int, bearable: int, share: float) -> None:
        self._left, self._bearable = left, bearable
        self._many = (1.0 + share) / 2.0
        self._on_all = self._on_many = 0.5

    @property
    def stake(self) -> float:
        """What it is worth; 1 at the beginning."""
        return self._on_all + self._on_many

    def outcome(self, *, failed: bool) -> None:
        """The next one, drawn from those that are left."""
        at_most = self._bearable / self._left  # how likely that it fails, if no more fail than may
        self._left -= 1
        self._bearable -= failed
        if not 0.0 < at_most < 1.0:
            return  # then there is nothing to win: the failures are counted, too
        self._on_all *= 1.0 / at_most if failed else 0.0
        self._on_many *= self._many / at_most if failed else (1.0 - self._many) / (1.0 - at_most)
