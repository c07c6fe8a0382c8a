"""The breaker: whether a provider is asked at all.

```
closed ──failures in a row──> open ──1, 2, 4, 5 s──> half open (one probe) ──answer──> closed
                               ^──────────────────────── failure ┘
open, and no answer for `outage_seconds` ──> given up (all are told) ──5 s, or a new run──> half open
```

One request that always fails is no provider that is away: failures in a row count for all only where they
are of two calls at least, or where there was no connection, which no request causes. Where nobody else asks,
as with one thread, nobody can say which it is. Then the breaker opens too, so that the call waits as long as
an outage may take; whoever else comes looks at once; and when the time is over the call fails alone, and the
provider is given up only if the next one fails as well.
"""

import math
import random
from typing import Literal

from skill_fleet.foundation.errors import ProviderError

BreakerState = Literal["closed", "open", "half_open", "given_up"]

IN_A_ROW = 5
"""So many failures one after another, of whatever calls, open the breaker,"""
SPELL = 1.5
"""if they took as many seconds, too: many threads that fail together are one bad moment."""
COOL = 5.0
"""Seconds after giving up before a later call asks again."""
_LONGEST_REST = 5.0
ALONE = 2
"""So many failures in a row of a call that nobody else is there to compare with open it."""
_LONGEST_REST_ALONE = 15.0
"""Most seconds between its probes then: each may be billed, and it may be the request that is wrong."""


class Breaker:
    """Whether a provider is asked. Not locked: its owner is.

    Args:
        outage_seconds: A provider that has answered nothing for so long, while it was asked, is given up.
        rng: For the jitter between probes.
    """

    def __init__(self, outage_seconds: float, rng: random.Random) -> None:
        self.state: BreakerState = "closed"
        self.opened_at = -math.inf
        self.answered_at = -math.inf
        self.outage = outage_seconds
        self._rng = rng
        self._failures = 0
        self._whose: set[int | None] = set()
        self._row_began = 0.0
        self._openings = 0
        self._since: float | None = None
        self._again = -math.inf
        self._last: ProviderError | None = None
        self._refused: dict[str, tuple[ProviderError, float]] = {}

    @property
    def several(self) -> bool:
        """Whether what failed in a row cannot be the fault of one request."""
        return None in self._whose or len(self._whose) > 1

    def wait(self, now: float) -> float:
        """Seconds until a call may go; infinite while a probe is under way."""
        if self.state == "closed":
            return 0.0
        return math.inf if self.state == "half_open" else max(0.0, self._again - now)

    def silence(self, now: float) -> tuple[float, str]:
        """For how many seconds nobody has been answered, and why the last was not; 0.0 while it answers."""
        if self._since is None or self._last is None or self.state == "given_up":
            return 0.0, ""
        return max(0.0, now - self._since), self._last.code

    def given_up(self, model: str, now: float) -> ProviderError | None:
        """Why a call of this model is not even made; None when it is."""
        error, until = self._refused.get(model, (None, now))
        if error is not None and now < until:
            return error
        return self._last if self.state == "given_up" and now < self._again else None

    def admitted(self, model: str) -> bool:
        """A call goes.

        Returns:
            Whether it is the probe.
        """
        self._refused.pop(model, None)
        if self.state == "closed":
            return False
        if self.state == "given_up":
            self._since, self._openings = None, 0
        self.state = "half_open"
        return True

    def answered(self, now: float, *, probe: bool) -> None:
        """The provider answered: well, or that this request is not acceptable."""
        self._failures, self._since, self.answered_at = 0, None, now
        if probe or self.state == "closed":
            self.state, self._openings = "closed", 0
        elif self.state in {"open", "given_up"}:
            # An answer to a call from before the breaker opened: reason enough to ask at once, not to trust.
            self.state, self._again = "open", now

    def limited(self, now: float, error: ProviderError, *, probe: bool) -> None:
        """The provider turned a call away for its rate: it is there, but that is no answer."""
        self._last = error
        self._since = now if self._since is None else self._since
        self._failures = 0
        if probe:
            self.state = "closed"
        if self.state == "closed" and now - self._since >= self.outage:
            self._give_up(now)

    def failed(
        self,
        now: float,
        error: ProviderError,
        *,
        probe: bool,
        sent: float | None = None,
        under_way: int = 0,
        asked: float = 0.0,
        origin: int | None = None,
        alone: bool = False,
    ) -> bool:
        """No answer, or one that says that the provider is out of order.

        Args:
            now: The time.
            error: What it was, for the user.
            probe: Whether it was the call that looked.
            sent: When the call went; None: just now.
            under_way: Other calls whose end is not known yet. Failures come back sooner than answers, so as
                long as there are more of these, failures in a row say little.
            asked: Seconds the provider asked to wait.
            origin: Which call's attempt it was; None where it says the same of all.
            alone: Whether nobody else asks, nor was answered since that call was made first.

        Returns:
            Whether the call was waited for as long as for a provider that is away, and no other has failed:
            then that is its own affair.
        """
        self._since = now if self._since is None else self._since
        if self.state == "closed":
            if not self._failures:
                self._row_began = max(self.answered_at, now if sent is None else sent)
                self._whose.clear()
            self._failures += 1
            self._whose.add(origin)
            self._last = error
            enough = max(IN_A_ROW, under_way) if self.several else ALONE if alone else math.inf
            if self._failures >= enough and now - self._row_began >= SPELL:
                self._open(now, asked)
        elif probe:
            self._last = error
            self._whose.add(origin)
            if now - self._since < self.outage:
                self._open(now, asked)
            elif self.several:
                self._give_up(now)
            else:
                self.state, self._again = "open", now
                return True
        return False

    def joined(self, now: float, origin: int | None) -> bool:
        """A call comes to ask.

        Returns:
            Whether it is to look at once: only another one has failed, and what becomes of this one tells.
        """
        tells = self.state == "open" and not self.several and origin not in self._whose
        if tells:
            self._again = min(self._again, now)
        return tells

    def refused(self, now: float, model: str, error: ProviderError, *, probe: bool) -> None:
        """The key or the account is not accepted: no further call of this model; of others, one to see."""
        self._refused[model] = (error, now + COOL)
        if probe or self.state == "closed":
            self.state, self.opened_at, self._again = "open", now, now

    def dropped(self, now: float, *, probe: bool) -> None:
        """A call ended without a word of the provider: another probe may go."""
        if probe and self.state == "half_open":
            self.state, self._again = "open", now

    def asked_anew(self, now: float, model: str) -> None:
        """A run that has asked nothing yet wants a call: it is not told what others were, but may probe."""
        self._refused.pop(model, None)
        if self.state == "given_up":
            self._again = min(self._again, now)

    def idle(self) -> None:
        """Nobody asked for a while: silence was no outage."""
        self._since = None

    def _open(self, now: float, asked: float) -> None:
        longest = _LONGEST_REST if self.several else _LONGEST_REST_ALONE
        rest = max(asked, min(longest, 2.0**self._openings)) * self._rng.uniform(1.0, 1.2)
        self.state, self.opened_at = "open", now
        self._openings = min(self._openings + 1, 10)
        since = now if self._since is None else self._since
        self._again = max(now, min(now + rest, since + self.outage))  # the last probe is at the end

    def _give_up(self, now: float) -> None:
        self.state, self.opened_at, self._again = "given_up", now, now + COOL
