"""Who may go, and when: the rules of one account as a machine without threads, locks and waiting.

Callers queue by model in the order they came. What concerns the account (pause, breaker, learned rate) holds
everybody; what concerns a model (its configured limits, what headers said is left) holds that model's queue.
"""

import math
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.account_rate import AccountRate
from skill_fleet.llm.limits.announced import Announced, Told
from skill_fleet.llm.limits.breaker import Breaker
from skill_fleet.llm.limits.callers import Call, Place
from skill_fleet.llm.limits.pace import Pace, TokenWindow, per_minute
from skill_fleet.llm.limits.rate_headers import Kind, Left

_FORGOTTEN = 10.0
_SOONER = 0.001
_TAKEN = 1.0
"""Seconds in which leave has to be taken, where others wait."""
# So often in a row one call probes before it is another's turn. A server that fails now and then is likelier
# to answer the same request at last than each of many at once; but one request may be why it fails.
_TURNS = 5
# A header alone is no measurement: so many good answers are needed before it sets a rate.
_ENOUGH = 5
_REFUSALS = frozenset({"auth", "billing"})
_LOCAL = frozenset({"lock_timeout", "not_configured", "configuration", "unsupported_feature"})


@dataclass
class _Model:
    announced: Announced
    queue: deque[Place] = field(default_factory=deque)
    pace: Pace = field(default_factory=Pace)
    window: TokenWindow = field(default_factory=TokenWindow)
    in_flight: int = 0


class Admission:
    """The queue of one account. Not locked: its owner is. Times are monotonic seconds.

    Args:
        longest_pause: Most seconds that a provider can make everybody wait at a time.
        outage_seconds: A provider that has answered nothing for so long, while it was asked, is given up.
        rng: For jitter.
    """

    def __init__(self, longest_pause: float, outage_seconds: float, rng: random.Random) -> None:
        self.breaker = Breaker(outage_seconds, rng)
        self.rate = AccountRate(longest_pause, rng)
        self.admitted = 0
        self.under_way: set[Call] = set()
        self._longest = longest_pause
        self._models: dict[str, _Model] = {}
        self._arrivals = 0
        self._wanted = -math.inf
        self._answered = 0
        self._untaken: list[Place] = []
        self._in_front: list[Place] = []
        self.due = math.inf

    @property
    def waiting(self) -> int:
        """Callers in the queues."""
        return sum(len(model.queue) for model in self._models.values())

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self.under_way)

    def enter(self, place: Place, now: float) -> None:
        """A caller comes; it may be let go at once."""
        if not self.in_flight and not self.waiting and now - self._wanted > _FORGOTTEN:
            self.breaker.idle()
        queue = self._model(place.quota.model).queue
        again = 0 < place.probes < _TURNS and self.breaker.state != "closed" and self.breaker.several
        if self.breaker.joined(now, place.origin) or again:
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

    def taken(self, place: Place) -> None:
        """A caller knows that it may go."""
        if place in self._untaken:
            self._untaken.remove(place)
            if place.call is not None:
                place.call.loop = place.loop

    def present(self, place: Place, now: float) -> None:
        """A caller that was passed over is there again, and with it all others of its loop."""
        for model in self._models.values():
            for one in model.queue:
                one.absent = one.absent and one.loop is not place.loop
        self.serve(now)

    def serve(self, now: float) -> None:
        """Let go whoever may go now, wake them, and tell those at the heads when to look again."""
        self._wanted = now
        self._pass_on(now)
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
                self._only_heads_are_due([place for place, _ in heads])
                times = [place.due for place, _ in heads]
                times += [place.call.at + _TAKEN for place in self._untaken if place.call is not None]
                self.due = min(times, default=math.inf)
                return

    def begun(self, call: Call, now: float) -> None:
        """The first piece of an answer has come. If the call asks for everybody, that is what it asks."""
        call.begun = True
        if call.probe:
            self.breaker.answered(now, probe=True)
            call.probe = False
            self.serve(now)

    def answered(self, call: Call, tokens: int | None, now: float) -> None:
        """A call was answered."""
        self._ended(call, tokens)
        self.rate.answered(call, now)
        self._answered += 1
        self._believed(call, call.word or Told(call.number, call.at), now)
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
            self._model(call.model).announced.turned_away(doubtful=call.doubtful)
            alone = self.rate.turned_away(call, asked, now, more=self.waiting + self.in_flight > 0)
            self.breaker.limited(now, error, probe=call.probe)
        elif failure.code in _REFUSALS:
            self.breaker.refused(now, call.model, error, probe=call.probe)
        elif failure.code in _LOCAL:
            self.breaker.dropped(now, probe=call.probe)
        elif failure.answered or failure.remedy != "retry":
            self.breaker.answered(now, probe=call.probe)
        else:
            call.overdue = self.breaker.failed(
                now,
                error,
                probe=call.probe,
                sent=call.at,
                under_way=self.in_flight,
                asked=min(asked or 0.0, self._longest),
                origin=None if failure.unreached else call.origin,
                alone=not (self.in_flight or self.waiting) and self.breaker.answered_at <= call.began,
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
        word = Told(self.admitted, now, said) if call is None else Told(call.number, call.at, said)
        if call is not None:
            call.word = word
            call.room = all(
                one.remaining > (0 if kind == "requests" else call.tokens) for kind, one in said.items()
            )
        self._model(model).announced.told(word)
        self.serve(now)

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            self._models[name] = _Model(Announced(self._longest))
        return self._models[name]

    def _heads(self, now: float) -> list[tuple[Place, _Model]]:
        heads = []
        for name, model in self._models.items():
            error = self.breaker.given_up(name, now) if model.queue else None
            while error is not None and model.queue:
                place = model.queue.popleft()
                place.error = error
                place.wake()
            head = next((place for place in model.queue if not place.absent), None)
            if head is not None:
                heads.append((head, model))
        return sorted(heads, key=lambda head: head[0].arrived)

    def _only_heads_are_due(self, heads: list[Place]) -> None:
        """Whoever another has come in front of would go by a time that is not told on any more."""
        for place in self._in_front:
            if place not in heads:
                place.due = math.inf
        self._in_front = heads

    def _account_wait(self, now: float) -> float:
        return max(self.rate.wait(now, self.in_flight), self.breaker.wait(now))

    def _model_wait(self, place: Place, model: _Model, now: float) -> float:
        quota = place.quota
        if quota.in_flight is not None and model.in_flight >= quota.in_flight:
            return math.inf
        wait = 0.0
        if quota.rpm is not None:
            wait = model.pace.wait(now)
        if quota.tpm is not None:
            wait = max(wait, model.window.wait(now, place.tokens, quota.tpm))
        said = model.announced.wait(now, place.tokens)  # first: with what is over may go what made it binding
        return max(wait, said) if model.announced.binding(paced=self.rate.learned.rate is not None) else wait

    def _admit(self, place: Place, model: _Model, now: float) -> None:
        model.queue.remove(place)
        self.admitted += 1
        model.in_flight += 1
        probe = self.breaker.admitted(place.quota.model)
        call = Call(now, self.admitted, model=place.quota.model, probe=probe, under_way=self.in_flight + 1)
        call.probes = place.probes + 1 if probe else 0
        call.origin = call.number if place.origin is None else place.origin
        call.began = now if place.began is None else place.began
        call.tokens = place.tokens
        call.doubtful = model.announced.wait(now, place.tokens) > 0
        if place.quota.rpm is not None:
            model.pace.take(now, per_minute(place.quota.rpm))
        if place.quota.tpm is not None:
            call.spent = model.window.take(now, place.tokens)
        model.announced.sent(call.number, place.tokens)
        self.rate.learned.take(call)
        self.under_way.add(call)
        place.call = call
        if place.loop is not None:
            self._untaken.append(place)
        place.wake()

    def _pass_on(self, now: float) -> None:
        """Leave that a task does not take, because its loop is busy, goes to others, if there are any."""
        late = [one for one in self._untaken if one.call is not None and now - one.call.at >= _TAKEN]
        busy = {id(one.loop) for one in late}
        waiting = [one for model in self._models.values() for one in model.queue] if late else []
        if all(id(one.loop) in busy for one in waiting):
            return
        for one in reversed(late):
            self._untaken.remove(one)
            call, one.call = one.call, None
            if call is not None:
                self._ended(call, None)
                self.breaker.dropped(now, probe=call.probe)
            self._model(one.quota.model).queue.appendleft(one)
        for one in (*late, *waiting):
            one.absent = one.absent or id(one.loop) in busy

    def _ended(self, call: Call, tokens: int | None) -> None:
        model = self._model(call.model)
        self.under_way.remove(call)
        model.in_flight -= 1
        if call.spent is not None and tokens is not None:
            model.window.correct(call.spent, tokens)

    def _believed(self, call: Call, word: Told, now: float) -> None:
        """A good answer that says what is left: that may be wrong, or all that is known of the rate."""
        model = self._model(call.model)
        if model.announced.answered(word, now, doubtful=call.doubtful):
            self.rate.learned.contradicted()
            return
        requests = word.said.get("requests")
        if requests is not None and requests.remaining == 0 and self._answered >= _ENOUGH:
            self.rate.learned.exhausted(now, word.at + min(requests.reset, self._longest))


def _sane(seconds: float | None) -> float | None:
    """What a provider asked to wait, where it is a time at all."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return seconds
