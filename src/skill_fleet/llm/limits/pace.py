"""What was configured, kept exactly: requests a minute evenly spaced, tokens in a sliding minute."""

import math
from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
LATE = 0.05
"""Seconds by which a call may come early, to make up for one that was let go late."""


class Pace:
    """Calls at even distances: the generic cell rate algorithm, whose state is one time.

    Any n calls span at least (n - 1) intervals less `LATE`. Even distances keep to a limit however short the
    periods are in which a provider counts; many count 600 a minute as 10 a second.
    """

    def __init__(self) -> None:
        self._due = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the next call may go."""
        return max(0.0, self._due - LATE - now)

    def take(self, now: float, interval: float) -> None:
        """A call goes; the next one is due so many seconds after."""
        self._due = max(self._due, now) + interval

    def hold(self, until: float) -> None:
        """No call before this time, and none early after it."""
        self._due = max(self._due, until + LATE)


def per_minute(rpm: int) -> float:
    """The distance of calls that puts never more than so many into any minute."""
    return (MINUTE + LATE) / rpm


@dataclass
class Spent:
    """What one call takes of a window: an estimate, then what it was."""

    at: float
    tokens: int


class TokenWindow:
    """The tokens of the last minute."""

    def __init__(self) -> None:
        self._calls: deque[Spent] = deque()
        self._sum = 0

    def wait(self, now: float, tokens: int, tpm: int) -> float:
        """Seconds until a call of so many tokens fits; one larger than the limit goes alone."""
        while self._calls and self._calls[0].at + MINUTE <= now:
            self._sum -= self._calls.popleft().tokens
        over = self._sum + tokens - tpm
        free = now
        for call in self._calls:
            if over <= 0:
                break
            over -= call.tokens
            free = call.at + MINUTE
        return free - now

    def take(self, now: float, tokens: int) -> Spent:
        """A call goes."""
        call = Spent(now, tokens)
        self._calls.append(call)
        self._sum += tokens
        return call

    def correct(self, call: Spent, tokens: int) -> None:
        """What a call really took, never less than nothing; one that left the window changes nothing."""
        tokens = max(0, tokens)
        if self._calls and call.at >= self._calls[0].at:
            self._sum += tokens - call.tokens
        call.tokens = tokens
