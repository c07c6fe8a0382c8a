"""Who may go, and when: the rules of one account as a machine without threads, locks and waiting.

Callers queue by model in the order they came. What concerns the account (pause, breaker, learned rate) holds
everybody; what concerns a model (its configured limits, what headers said is left) holds that model's queue.
"""

import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.breaker import Breaker
from skill_fleet.llm.limits.chance import Chance
from skill_fleet.llm.limits.learned_crowd import LearnedCrowd
from skill_fleet.llm.limits.learned_rate import LearnedRate, Sent
from skill_fleet.llm.limits.pace import LATE, Pace, Spent, TokenWindow, per_minute
from skill_fleet.llm.limits.rate_headers import Kind, Left

_FORGOTTEN = 10.0
_GUESS = 1.0
_SOONER = 0.001
# So often in a row one call probes before it is another's turn. A server that fails now and then is likelier
# to answer the same request at last than each of many at once; but one request may be why it fails.
_TURNS = 5
_TRUST = 4
_DOUBT = 10
_REFUSALS = frozenset({"auth", "billing"})
_SPOILED = frozenset({"truncated", "empty", "broken_off", "content_filter", "unusable", "malformed"})
_LOCAL = frozenset({"lock_timeout", "not_configured", "configuration", "unsupported_feature"})


@dataclass(frozen=True)
class Quota:
    """What one model may use, as configured.

    Attributes:
        model: `provider/name`.
        rpm: Most requests a minute.
        tpm: Most tokens a minute, input and output together.
        in_flight: Most calls at once.
    """

    model: str
    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None


@dataclass(eq=False)
class Call(Sent):
    """A call that was let go.

    Attributes:
        model: To which model.
        probe: Whether it asks on everybody's behalf if the provider is back.
        probes: How often in a row it has done so, this time included.
        tokens: How many it was expected to take.
        spent: Its tokens in the window of its model.
        under_way: Calls of the account in flight when it went, itself included.
        doubtful: Whether it went although an earlier answer said that nothing was left.
        room: Whether what came back said that there was room for more.
    """

    model: str = ""
    probe: bool = False
    probes: int = 0
    tokens: int = 0
    spent: Spent | None = None
    under_way: int = 1
    doubtful: bool = False
    room: bool = False


@dataclass(eq=False)
class Place:
    """A caller in the queue.

    Attributes:
        probes: How often in a row its call has asked on everybody's behalf, up to now.
        call: Set when it may go.
        error: Set when the provider was given up.
        due: When its turn comes, as far as time decides; infinite where another call's end does.
    """

    quota: Quota
    tokens: int
    wake: Callable[[], None]
    probes: int = 0
    arrived: int = 0
    call: Call | None = None
    error: ProviderError | None = None
    due: float = math.inf

    @property
    def decided(self) -> bool:
        """Whether waiting is over."""
        return self.call is not None or self.error is not None


@dataclass
class _Announced:
    """What a response said is left of a limit, less what was sent since; until its reset."""

    left: float
    until: float
    number: int


@dataclass
class _Model:
    queue: deque[Place] = field(default_factory=deque)
    pace: Pace = field(default_factory=Pace)
    window: TokenWindow = field(default_factory=TokenWindow)
    in_flight: int = 0
    announced: dict[Kind, _Announced] = field(default_factory=dict)
    trust: int = 0
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=2_000))


class Admission:
    """The queue of one account. Not locked: its owner is. Times are monotonic seconds.

    Args:
        longest_pause: Most seconds that a provider can make everybody wait at a time.
        outage_seconds: A provider that has answered nothing for so long, while it was asked, is given up.
        rng: For jitter.
    """

    def __init__(self, longest_pause: float, outage_seconds: float, rng: random.Random) -> None:
        self.breaker = Breaker(outage_seconds, rng)
        self.learned = LearnedRate(1.0 / longest_pause)
        self.crowd = LearnedCrowd()
        self.chance = Chance()
        self.paused_until = -math.inf
        self.admitted = self.rejected = self.in_flight = 0
        self._longest = longest_pause
        self._rng = rng
        self._models: dict[str, _Model] = {}
        self._arrivals = 0
        self._wanted = -math.inf
        self._turned_away = 0

    @property
    def waiting(self) -> int:
        """Callers in the queues."""
        return sum(len(model.queue) for model in self._models.values())

    def enter(self, place: Place, now: float) -> None:
        """A caller comes; it may be let go at once."""
        if not self.in_flight and not self.waiting and now - self._wanted > _FORGOTTEN:
            self.breaker.idle()
        queue = self._model(place.quota.model).queue
        if 0 < place.probes < _TURNS and self.breaker.state != "closed":
            queue.appendleft(place)  # it arrived before all others
        else:
            self._arrivals += 1
            place.arrived = self._arrivals
            queue.append(place)
        self.serve(now)

    def leave(self, place: Place, now: float) -> None:
        """A caller goes away without having been let go."""
        queue = self._model(place.quota.model).queue
        if place in queue:
            queue.remove(place)
            self.serve(now)

    def serve(self, now: float) -> None:
        """Let go whoever may go now, wake them, and tell those at the heads when to look again."""
        self._wanted = now
        while True:
            heads = self._heads(now)
            for place, model in heads:
                wait = max(self._account_wait(now), self._model_wait(place, model, now))
                if wait <= 0:
                    self._admit(place, model, now)
                    break
                if now + wait < place.due - _SOONER:
                    place.due = now + wait
                    place.wake()
                else:
                    place.due = now + wait
            else:
                return

    def answered(self, call: Call, tokens: int | None, now: float) -> None:
        """A call was answered."""
        self._ended(call, tokens)
        self._turned_away = 0
        self.learned.answered(call)
        self._told(call, now, refused=False)
        self.crowd.answered(call.under_way)
        if call.doubtful:
            model = self._model(call.model)
            model.trust = max(-_DOUBT, model.trust - 1)
        self.breaker.answered(now, probe=call.probe)
        self.serve(now)

    def failed(self, call: Call, failure: Failure, error: ProviderError, now: float) -> bool:
        """A call failed.

        Returns:
            Whether that is its own affair: if it is to rest before it comes again, it rests alone.
        """
        self._ended(call, None)
        asked = _sane(failure.retry_after)
        alone = True
        if failure.code == "rate_limit":
            alone = self._limited(call, asked, error, now)
        elif failure.code in _REFUSALS:
            self.breaker.refused(now, call.model, error, probe=call.probe)
        elif failure.code in _LOCAL:
            self.breaker.dropped(now, probe=call.probe)
        elif failure.code in _SPOILED or failure.remedy != "retry":
            self.breaker.answered(now, probe=call.probe)
        else:
            self.breaker.failed(
                now,
                error,
                probe=call.probe,
                sent=call.at,
                under_way=self.in_flight,
                asked=min(asked or 0.0, self._longest),
            )
        self.serve(now)
        return alone

    def dropped(self, call: Call, now: float) -> None:
        """A call ended without a word of the provider, or was not made after all."""
        self._ended(call, None)
        self.breaker.dropped(now, probe=call.probe)
        self.serve(now)

    def announced(self, model: str, said: Mapping[Kind, Left], call: Call | None, now: float) -> None:
        """What a response says is left of the model's limits.

        A provider counts when a request arrives: what it says is as old as the call that it answers.

        Args:
            model: Which model.
            said: What is left.
            call: The call that was answered, where that is known.
            now: The time.
        """
        entry = self._model(model)
        number = call.number if call is not None else self.admitted
        at = call.at if call is not None else now
        if call is not None:
            call.room = all(
                one.remaining > (0 if kind == "requests" else call.tokens) for kind, one in said.items()
            )
        for kind, one in said.items():
            old = entry.announced.get(kind)
            if old is not None and old.number > number:
                continue
            since = list(itertools.takewhile(lambda one: one[0] > number, reversed(entry.recent)))
            used = len(since) if kind == "requests" else sum(tokens for _, tokens in since)
            until = at + min(one.reset + LATE, self._longest)  # it was told on the way
            entry.announced[kind] = _Announced(one.remaining - used, until, number)
            if one.remaining == 0:
                self.learned.exhausted(now, until)
        self.serve(now)

    def _model(self, name: str) -> _Model:
        return self._models.setdefault(name, _Model())

    def _heads(self, now: float) -> list[tuple[Place, _Model]]:
        heads = []
        for name, model in self._models.items():
            error = self.breaker.given_up(name, now) if model.queue else None
            while error is not None and model.queue:
                place = model.queue.popleft()
                place.error = error
                place.wake()
            if model.queue:
                heads.append((model.queue[0], model))
        return sorted(heads, key=lambda head: head[0].arrived)

    def _account_wait(self, now: float) -> float:
        if self.crowd.most is not None and self.in_flight >= self.crowd.most:
            return math.inf
        return max(self.paused_until - now, self.breaker.wait(now), self.learned.wait(now))

    def _model_wait(self, place: Place, model: _Model, now: float) -> float:
        quota = place.quota
        if quota.in_flight is not None and model.in_flight >= quota.in_flight:
            return math.inf
        wait = 0.0
        if quota.rpm is not None:
            wait = model.pace.wait(now)
        if quota.tpm is not None:
            wait = max(wait, model.window.wait(now, place.tokens, quota.tpm))
        # Many say 0 left while they still take a call every moment. Once a rate is known, what they say is
        # heeded as far as calls made in spite of it were turned away.
        if self.learned.rate is None or model.trust > 0:
            wait = max(wait, self._announced_wait(place, model, now))
        return wait

    def _announced_wait(self, place: Place, model: _Model, now: float) -> float:
        """Seconds until there is more, as far as responses told."""
        wait = 0.0
        for kind, one in list(model.announced.items()):
            if now >= one.until:
                del model.announced[kind]
                model.trust -= model.trust > 0
            elif one.left < (1 if kind == "requests" else max(1, place.tokens)):
                wait = max(wait, one.until - now)
        return wait

    def _admit(self, place: Place, model: _Model, now: float) -> None:
        model.queue.popleft()
        self.admitted += 1
        self.in_flight += 1
        model.in_flight += 1
        probe = self.breaker.admitted(place.quota.model)
        call = Call(now, self.admitted, model=place.quota.model, probe=probe, under_way=self.in_flight)
        call.probes = place.probes + 1 if probe else 0
        call.tokens = place.tokens
        call.doubtful = self._announced_wait(place, model, now) > 0
        if place.quota.rpm is not None:
            model.pace.take(now, per_minute(place.quota.rpm))
        if place.quota.tpm is not None:
            call.spent = model.window.take(now, place.tokens)
        model.recent.append((call.number, place.tokens))
        for kind, one in model.announced.items():
            one.left -= 1 if kind == "requests" else place.tokens
        self.learned.take(call)
        place.call = call
        place.wake()

    def _ended(self, call: Call, tokens: int | None) -> None:
        model = self._model(call.model)
        self.in_flight -= 1
        model.in_flight -= 1
        if call.spent is not None and tokens is not None:
            model.window.correct(call.spent, tokens)

    def _limited(self, call: Call, asked: float | None, error: ProviderError, now: float) -> bool:
        """A call was turned away for its rate.

        Returns:
            Whether that is put down to chance: neither the pace is lowered for it, nor anybody else held up.
        """
        self.rejected += 1
        if call.doubtful:
            model = self._model(call.model)
            model.trust = min(_TRUST, model.trust + _TRUST)
        call.accepted = False
        tried = self._told(call, now, refused=True)
        if tried or (not self.learned.is_late(call) and self._explained(call, now)):
            self.breaker.limited(now, error, probe=call.probe)
            return True
        before = self.learned.rate
        fresh = self.learned.rejected(
            call,
            now,
            min(asked or 0.0, self._longest),
            chance=self.chance.share,
            more=self.waiting + self.in_flight > 0,
        )
        if fresh:
            self._turned_away += 1
            if before is not None:
                if self.crowd.rejected(call.under_way):
                    self.learned.forget()
                elif self.chance.blame(now, before):
                    self.learned.try_less(now)
        paced = before is not None
        if asked is not None:
            self._pause(asked, now)
        elif fresh:
            guess = _GUESS / 2 if paced else _GUESS
            self._pause(guess * 2.0 ** (min(self._turned_away, 30) - 1), now)
        self.breaker.limited(now, error, probe=call.probe)
        return False

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


def _sane(seconds: float | None) -> float | None:
    """What a provider asked to wait, where it is a time at all."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return seconds
