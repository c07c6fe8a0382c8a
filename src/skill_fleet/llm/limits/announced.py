"""What responses say is left of a model's limits, and how far that is believed.

Many say it wrongly: 0 or 1 left on every good answer, a reset in a day, a count of another account; or they
tell of a bucket that fills all the while, and whose reset is when it is full. So a word is dropped at the
first answer that contradicts it, and comes back to honour when a call made in spite of it is turned away.

Until a reset every call that is taken leaves less. Good answers that leave just as much, each of them there
before the reset that the other one names, are a contradiction, in whatever order they were counted.
"""

import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from skill_fleet.llm.limits.pace import LATE
from skill_fleet.llm.limits.rate_headers import Kind, Left

_TRUST = 4
_DOUBT = 10
_REMEMBERED = 2_000
# So often again the same number is no count any more. Once is too often, but a counter that servers share
# lags a little; and a reset within so many seconds costs little.
_OFTEN, _SHORT = 2, 2.0


@dataclass
class _Limit:
    """What is left, less what was sent since; until its reset."""

    left: float
    until: float
    number: int


@dataclass(eq=False)
class Told:
    """What the response to one call said.

    Attributes:
        number: Place of the call in the order of all calls of the account.
        at: When it was let go: a provider counts when a request arrives, so that is how old the word is.
        said: What is left.
    """

    number: int
    at: float
    said: Mapping[Kind, Left] = field(default_factory=dict)


class Announced:
    """What is left for one model. Not locked: its owner is. Times are monotonic seconds.

    Args:
        longest: Most seconds that a word makes anybody wait.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._limits: dict[Kind, _Limit] = {}
        self._recent: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._empty: dict[Kind, tuple[float, int]] = {}
        # Of each number that was left: until when it was to hold, when it was heard, how often again.
        self._leaving: dict[Kind, dict[int, tuple[float, float, int]]] = {}
        self._lies: set[Kind] = set()
        self._trust = 0

    def told(self, word: Told) -> None:
        """A response came; whether it is a good answer is not known yet."""
        for kind, one in word.said.items():
            old = self._limits.get(kind)
            if kind in self._lies or (old is not None and old.number > word.number):
                continue
            since = list(itertools.takewhile(lambda sent: sent[0] > word.number, reversed(self._recent)))
            used = len(since) if kind == "requests" else sum(tokens for _, tokens in since)
            until = word.at + min(one.reset + LATE, self._longest)  # it was told on the way
            self._limits[kind] = _Limit(one.remaining - used, until, word.number)

    def sent(self, number: int, tokens: int) -> None:
        """A call goes."""
        self._recent.append((number, tokens))
        for kind, one in self._limits.items():
            one.left -= 1 if kind == "requests" else tokens

    def wait(self, now: float, tokens: int) -> float:
        """Seconds until a call of so many tokens fits, as far as responses told."""
        wait = 0.0
        for kind, one in list(self._limits.items()):
            if now >= one.until:
                del self._limits[kind]
                self._trust -= self._trust > 0
            elif one.left < (1 if kind == "requests" else max(1, tokens)):
                wait = max(wait, one.until - now)
        return wait

    def binding(self, *, paced: bool) -> bool:
        """Whether it is heeded.

        Many say 0 left while they still take a call every moment: once a rate is known, it is heeded as far
        as calls made in spite of it were turned away.

        Args:
            paced: Whether a rate is known.
        """
        return not paced or self._trust > 0

    def answered(self, word: Told, now: float, *, doubtful: bool) -> bool:
        """The answer is good.

        Args:
            word: What it said.
            now: The time: when the answer was there, the call had been counted.
            doubtful: Whether it was let go although nothing was left.

        Returns:
            Whether it contradicts what was said of requests.
        """
        self._trust = max(-_DOUBT, self._trust - doubtful)
        new = set()
        for kind, one in word.said.items():
            contradicts = self._again if one.remaining else self._nothing_again
            if contradicts(kind, one, word, now):
                new.add(kind)
                self._limits.pop(kind, None)
        self._lies |= new
        return "requests" in new

    def _nothing_again(self, kind: Kind, one: Left, word: Told, now: float) -> bool:
        until, number = self._empty.get(kind, (now, word.number))
        self._empty[kind] = (max(until, word.at + one.reset), max(number, word.number))
        return now < until and word.number > number

    def _again(self, kind: Kind, one: Left, word: Told, now: float) -> bool:
        leaving = self._leaving.setdefault(kind, {})
        until, heard, often = leaving.get(one.remaining, (-math.inf, math.inf, 0))
        reset = word.at + one.reset
        often = often + 1 if now < until and heard < reset else 0
        if len(leaving) >= _REMEMBERED:
            leaving.clear()
        leaving[one.remaining] = (*max((reset, now), (until, heard)), often)
        return often >= _OFTEN and one.reset > _SHORT

    def turned_away(self, *, doubtful: bool) -> None:
        """A call was turned away: what is said may be true after all.

        Args:
            doubtful: Whether it was let go although nothing was left.
        """
        if doubtful:
            self._trust = min(_TRUST, self._trust + _TRUST)
        self._lies.clear()
        self._empty.clear()
        self._leaving.clear()
