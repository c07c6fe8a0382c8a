"""How much a provider takes: a bucket or a window of requests, a bucket of tokens, requests under way."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from skill_fleet.simulator.settings import Limits

_DUST = 1e-9
"""So much short is enough: sums of floating-point numbers never quite come to a whole one."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was too many.

    Attributes:
        by: Which limit.
        seconds: When there is room for it, or None where that cannot be known.
    """

    by: Literal["requests", "tokens", "in_flight"]
    seconds: float | None


class Bucket:
    """Fills at a rate up to its size; may be overdrawn, and then has to fill up again first.

    Args:
        rate: A second.
        size: Most that it holds; it begins full.
        now: Seconds.
    """

    def __init__(self, rate: float, size: float, now: float) -> None:
        self.rate, self.size = rate, size
        self._level, self._at = size, now

    def level(self, now: float) -> float:
        """What is in it."""
        self._level = min(self.size, self._level + self.rate * max(0.0, now - self._at))
        self._at = max(now, self._at)
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """Seconds until it holds the amount; 0 when it does. Infinite for more than its size."""
        if amount > self.size:
            return math.inf
        lacking = amount - self.level(now)
        return lacking / self.rate if lacking > _DUST else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take it out."""
        self._level = self.level(now) - amount


class Window:
    """A sliding window: so many requests in any so many seconds, and no burst beyond them.

    It is stretched until it holds a whole number of requests: with 2.5 a second and one second it is 3 in any
    1.2 s. Fewer would be less than the rate in the long run, and 3 in any second more.

    Args:
        rate: A second.
        seconds: Its length, at least.
    """

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.most = max(1, math.ceil(rate * seconds - _DUST))
        self.seconds = self.most / rate
        self._taken: deque[float] = deque()

    def room(self, now: float) -> int:
        """How many more may come now."""
        while self._taken and now - self._taken[0] >= self.seconds - _DUST:
            self._taken.popleft()
        return self.most - len(self._taken)

    def wait(self, now: float) -> float:
        """Seconds until one more may come; 0 when it may."""
        return 0.0 if self.room(now) > 0 else self._taken[0] + self.seconds - now

    def reset(self, now: float) -> float:
        """Seconds until all of it is free again."""
        return self._taken[-1] + self.seconds - now if self.room(now) < self.most else 0.0

    def take(self, now: float) -> None:
        """One more came."""
        self._taken.append(now)


class Throttle:
    """The limits at work. What is turned away uses nothing up.

    Args:
        limits: As configured.
        now: Seconds on the clock of all calls.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.in_flight = 0
        rate, window = limits.rate, limits.window
        self._bucket = None if rate is None or window else Bucket(rate, limits.most_at_once, now)
        self._window = Window(rate, window) if rate and window else None
        self._tokens = None if limits.tpm is None else Bucket(limits.tpm / 60, limits.tpm, now)

    def admit(self, prompt_tokens: int, now: float) -> Refused | None:
        """Take a request in, or say why not. One that was taken in ends with `done`."""
        most = self.limits.max_in_flight
        if most is not None and self.in_flight >= most:
            return Refused("in_flight", None)
        wait = 0.0
        if self._bucket is not None:
            wait = self._bucket.wait(1, now)
        elif self._window is not None:
            wait = self._window.wait(now)
        if wait > 0:
            return Refused("requests", wait)
        if self._tokens is not None and (wait := self._tokens.wait(prompt_tokens, now)) > 0:
            return Refused("tokens", wait if wait < math.inf else None)
        self._take(prompt_tokens, now)
        self.in_flight += 1
        return None

    def _take(self, prompt_tokens: int, now: float) -> None:
        if self._bucket is not None:
            self._bucket.take(1, now)
        if self._window is not None:
            self._window.take(now)
        if self._tokens is not None:
            self._tokens.take(prompt_tokens, now)

    def answered(self, completion_tokens: int, now: float) -> None:
        """The tokens of an answer, known once it is made, count too."""
        if self._tokens is not None:
            self._tokens.take(completion_tokens, now)

    def headers(self, now: float) -> list[tuple[str, str]]:
        """`x-ratelimit-*` as OpenAI writes them: a minute's limit, what is left, when all of it is back."""
        if not self.limits.rate_headers:
            return []
        out: list[tuple[str, str]] = []
        if self._bucket is not None:
            level, rate = self._bucket.level(now), self._bucket.rate
            out += _described("requests", 60 * rate, level, (self._bucket.size - level) / rate)
        elif self._window is not None:
            window = self._window
            out += _described("requests", 60 * window.rate, window.room(now), window.reset(now))
        if self._tokens is not None:
            level, rate = self._tokens.level(now), self._tokens.rate
            out += _described("tokens", 60 * rate, level, (self._tokens.size - level) / rate)
        return out


def _described(what: str, limit: float, left: float, reset: float) -> list[tuple[str, str]]:
    """In whole numbers, none larger than it is; a limit of less than one a minute is none of them."""
    whole = math.floor(limit + _DUST)
    return [
        *([(f"x-ratelimit-limit-{what}", str(whole))] if whole else []),
        (f"x-ratelimit-remaining-{what}", str(max(0, math.floor(left + _DUST)))),
        (f"x-ratelimit-reset-{what}", duration(reset)),
    ]


def duration(seconds: float) -> str:
    """As OpenAI writes it: `20ms`, `1.5s`, `6m0s`; rounded up, but for the dust of binary fractions."""
    milliseconds = math.ceil(seconds * 1000 - 1000 * _DUST)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:g}s"
    whole = math.ceil(seconds - _DUST)
    return f"{whole // 60}m{whole % 60}s"
