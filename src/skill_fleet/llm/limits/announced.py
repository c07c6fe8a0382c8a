"""What responses say is left of a model's limits, and how far that is believed.

Many say it wrongly: 0 left on every good answer, a reset in a day, a count of another account. So a word is
dropped at the first answer that contradicts it, and comes back to honour when a call made in spite of it is
turned away.
"""

import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from skill_fleet.llm.limits.pace import LATE
from skill_fleet.llm.limits.rate_headers import Kind, Left

_TRUST = 4
_DOUBT = 10
_REMEMBERED = 2_000


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

        Two that are good and both say that nothing is left until later are a contradiction.

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
            until, number = self._empty.get(kind, (now, word.number))
            if one.remaining > 0:
                continue
            if now < until and word.number > number:
                new.add(kind)
                self._limits.pop(kind, None)
            self._empty[kind] = (max(until, word.at + one.reset), max(number, word.number))
        self._lies |= new
        return "requests" in new

    def turned_away(self, *, doubtful: bool) -> None:
        """A call was turned away: what is said may be true after all.

        Args:
            doubtful: Whether it was let go although nothing was left.
        """
        if doubtful:
            self._trust = min(_TRUST, self._trust + _TRUST)
        self._lies.clear()
        self._empty.clear()
