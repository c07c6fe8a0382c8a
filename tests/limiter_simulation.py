"""Providers with limits and hundreds of clients in discrete time: the limiter's queue without threads."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Call, Place, Quota
from skill_fleet.llm.limits.rate_headers import Left


class Server(Protocol):
    """What turns calls away."""

    def asks(self, now: float, tokens: int) -> float | None:
        """Seconds until there is room; None takes the call in."""
        ...

    def left(self, now: float) -> Left:
        """What its headers say."""
        ...


class FixedWindow:
    """So many in each period of the clock."""

    def __init__(self, rate: float, period: float = 1.0) -> None:
        self.most, self.period = round(rate * period), period
        self._period, self._taken = -1, 0

    def asks(self, now: float, tokens: int) -> float | None:
        if int(now / self.period) != self._period:
            self._period, self._taken = int(now / self.period), 0
        if self._taken >= self.most:
            return self._end(now)
        self._taken += 1
        return None

    def left(self, now: float) -> Left:
        return Left(self.most - self._taken, self._end(now))

    def _end(self, now: float) -> float:
        return (int(now / self.period) + 1) * self.period - now


class SlidingWindow:
    """So many in any period."""

    def __init__(self, rate: float, period: float = 1.0) -> None:
        self.most, self.period = round(rate * period), period
        self._taken: deque[float] = deque()

    def asks(self, now: float, tokens: int) -> float | None:
        while self._taken and now - self._taken[0] >= self.period:
            self._taken.popleft()
        if len(self._taken) >= self.most:
            return self._taken[0] + self.period - now
        self._taken.append(now)
        return None

    def left(self, now: float) -> Left:
        reset = self._taken[-1] + self.period - now if self._taken else 0.0
        return Left(self.most - len(self._taken), max(0.0, reset))


class TokenBucket:
    """Fills with so many a second up to a burst; a call takes 1, or its tokens."""

    def __init__(self, rate: float, burst: float | None = None, *, by_tokens: bool = False) -> None:
        self.rate, self.burst, self.by_tokens = rate, burst or rate, by_tokens
        self._level, self._at = self.burst, 0.0

    def asks(self, now: float, tokens: int) -> float | None:
        self._level = min(self.burst, self._level + self.rate * (now - self._at))
        self._at = now
        need = tokens if self.by_tokens else 1
        if self._level < need - 1e-9:
            return (need - self._level) / self.rate
        self._level -= need
        return None

    def left(self, now: float) -> Left:
        return Left(int(self._level), (self.burst - self._level) / self.rate)


class Endless:
    """No limit at all."""

    def asks(self, now: float, tokens: int) -> float | None:
        return None

    def left(self, now: float) -> Left:
        return Left(10**9, 0.0)


class Crowded:
    """So many at once."""

    def __init__(self, most: int) -> None:
        self.most, self.inside = most, 0

    def asks(self, now: float, tokens: int) -> float | None:
        if self.inside >= self.most:
            return math.nan
        self.inside += 1
        return None

    def left(self, now: float) -> Left:
        return Left(self.most, 0.0)


@dataclass(frozen=True)
class Noise:
    """What befalls requests whatever their number.

    Attributes:
        share: Of those that the limits let in.
        code: As what they fail: `rate_limit`, or an error of the server.
        slow: Seconds until that is known.
    """

    share: float
    code: str = "rate_limit"
    slow: float = 0.0


class Free:
    """In the place of the limiter's queue: everybody goes at once, and whoever failed rests alone."""

    def enter(self, place: Place, now: float) -> None:
        place.call = Call(now, 0)

    def serve(self, now: float) -> None:
        """Nobody waits."""

    def announced(self, *_: object) -> None:
        """It heeds nothing."""

    def answered(self, *_: object) -> None:
        """It learns nothing."""

    def failed(self, *_: object) -> bool:
        return True


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        answered: Times of answers, from the start.
        arrivals: When each request came to the server.
        rejections: When requests were turned away.
        waits: Seconds each call waited to be let go.
        by_client: Answers of each client.
        finished: When each client had its last answer.
        struck: Requests that failed by chance.
    """

    answered: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    rejections: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    by_client: dict[int, int] = field(default_factory=dict)
    finished: dict[int, float] = field(default_factory=dict)
    struck: int = 0

    @property
    def wall(self) -> float:
        return max(self.answered)

    def rejected_share(self, after: float = 1.0) -> float:
        """Of the requests after so many seconds."""
        late = sum(at > after for at in self.arrivals)
        return sum(at > after for at in self.rejections) / late if late else 0.0


class Simulation:
    """Clients that share a limiter and call a server.

    Args:
        server: What limits.
        clients: How many call at once.
        items: Calls to be answered, taken by whoever is free.
        latency: Seconds of an answer, as a draw.
        retry_after: Seconds as the server tells them: exact, in whole seconds, or not at all.
        headers: Whether answers say what is left.
        quota: What is configured.
        seed: Of everything that is drawn.
        lateness: Most seconds that a waiter looks too late, and that a request travels.
        noise: Faults that have nothing to do with the pace.
        limited: Whether the clients share a limiter at all.
    """

    def __init__(
        self,
        server: Server,
        *,
        clients: int,
        items: int,
        latency: Callable[[random.Random], float] = lambda rng: rng.lognormvariate(-1.6, 0.5),
        retry_after: str = "exact",
        headers: bool = False,
        quota: Quota | None = None,
        tokens: int = 100,
        seed: int = 0,
        lateness: float = 0.004,
        longest_pause: float = 60.0,
        outage_seconds: float = 120.0,
        noise: Noise | None = None,
        limited: bool = True,
    ) -> None:
        self.server, self.clients, self.items = server, clients, items
        self.rng = random.Random(seed)
        self.core: Any = Free()
        if limited:
            self.core = Admission(longest_pause, outage_seconds, random.Random(seed + 1))
        self.noise, self._luck = noise, random.Random(seed + 2)
        self.outcome = Outcome()
        self.quota = quota or Quota("m")
        self.tokens = tokens
        self._latency, self._retry_after, self._headers = latency, retry_after, headers
        self._lateness = lateness
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._left = items
        self._places: dict[int, tuple[Place, float, int]] = {}
        self._looks: set[float] = set()

    def run(self, limit: float = 1e5) -> Outcome:
        for client in range(self.clients):
            self._at(self.rng.uniform(0, 0.01), lambda client=client: self._next(client))
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            assert self.now < limit, "the simulation does not end"
            event()
            self._settle()
        return self.outcome

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _late(self) -> float:
        return self.now + self.rng.uniform(0.0002, self._lateness)

    def _next(self, client: int) -> None:
        if self._left:
            self._left -= 1
            self._ask(client, 1)

    def _ask(self, client: int, attempt: int) -> None:
        place = Place(self.quota, self.tokens, lambda: None)
        self._places[client] = (place, self.now, attempt)
        self.core.enter(place, self.now)

    def _settle(self) -> None:
        """Whoever was let go sends; whose time comes is woken then."""
        gone = [client for client, (place, _, _) in self._places.items() if place.decided]
        for client in gone:
            place, since, attempt = self._places.pop(client)
            assert place.error is None, place.error
            self.outcome.waits.append(self.now - since)
            self._at(self._late(), lambda c=client, p=place, a=attempt: self._arrive(c, p, a))
        for place in self._due():
            if place not in self._looks:
                self._looks.add(place)
                self._at(place + self.rng.uniform(0.0002, self._lateness), lambda p=place: self._look(p))

    def _due(self) -> Iterator[float]:
        times = {place.due for place, _, _ in self._places.values() if place.due < math.inf}
        return iter(sorted(times))

    def _look(self, due: float) -> None:
        self._looks.discard(due)
        self.core.serve(self.now)

    def _arrive(self, client: int, place: Place, attempt: int) -> None:
        self.outcome.arrivals.append(self.now)
        asks = self.server.asks(self.now, self.tokens)
        said = self.server.left(self.now)
        if asks is not None:
            self.outcome.rejections.append(self.now)
            self._at(self._late(), lambda: self._rejected(client, place, attempt, asks, said))
        elif self.noise is not None and self._luck.random() < self.noise.share:
            self._at(self._late() + self.noise.slow, lambda: self._struck(client, place, attempt, said))
        else:
            took = self._latency(self.rng)
            self._at(self.now + took, lambda: self._answered(client, place, said))

    def _heard(self, place: Place, said: Left) -> None:
        if self._headers:
            kind = "tokens" if getattr(self.server, "by_tokens", False) else "requests"
            self.core.announced(place.quota.model, {kind: said}, place.call, self.now)

    def _answered(self, client: int, place: Place, said: Left) -> None:
        if isinstance(self.server, Crowded):
            self.server.inside -= 1
        self._heard(place, said)
        self.core.answered(place.call, self.tokens, self.now)
        self.outcome.answered.append(self.now)
        self.outcome.by_client[client] = self.outcome.by_client.get(client, 0) + 1
        self.outcome.finished[client] = self.now
        self._next(client)

    def _rejected(self, client: int, place: Place, attempt: int, asks: float, said: Left) -> None:
        told = {"exact": asks, "whole": 1.0 if math.isnan(asks) else float(math.ceil(asks)), "none": None}
        self._heard(place, said)
        self._failed(client, place, attempt, "rate_limit", told[self._retry_after])

    def _struck(self, client: int, place: Place, attempt: int, said: Left) -> None:
        assert self.noise is not None
        if isinstance(self.server, Crowded):
            self.server.inside -= 1
        self.outcome.struck += 1
        self._heard(place, said)
        told = self.noise.code == "rate_limit" and self._retry_after != "none"
        self._failed(client, place, attempt, self.noise.code, 1.0 if told else None)

    def _failed(self, client: int, place: Place, attempt: int, code: str, after: float | None) -> None:
        failure = Failure(code, "retry", sent=code != "rate_limit", retry_after=after)
        alone = self.core.failed(place.call, failure, ProviderError("It failed."), self.now)
        pause = min(16.0, 2.0 ** (attempt - 1)) * self.rng.uniform(0.75, 1.25)
        if after:
            pause = after if alone else 0.0
        self._at(self.now + pause, lambda: self._ask(client, attempt + 1))
