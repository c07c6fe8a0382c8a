"""Laws of the queue, whatever its callers do: who has a time, who is woken, that nobody is left waiting."""

import math
import random
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.callers import Place, Quota
from skill_fleet.llm.limits.rate_headers import Kind, Left

DOWN = Failure("server", "retry", sent=True)
SLOW = Failure("rate_limit", "retry", sent=False, retry_after=6.0)
NO_KEY = Failure("auth", "stop", sent=False)
ENDS = [None, None, None, DOWN, DOWN, DOWN, DOWN, SLOW, SLOW, NO_KEY]
ERROR = ProviderError("It is down.")
MODELS = (
    Quota("free"),
    Quota("paced", rpm=60),
    Quota("narrow", in_flight=1),
    Quota("small", tpm=300, in_flight=3),
)
KINDS: tuple[Kind, ...] = ("requests", "tokens")
SEEDS = st.integers(0, 10**9)
# What a thread that sleeps may be told too late.
LITTLE = 0.0011


class Anybody:
    """Callers that come, are let go, see it or not, end well or not, come again and give up: at random.

    Attributes:
        waiting: Who waits, or does not know yet that he need not.
        until: Until when each of them sleeps where nobody wakes him.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.core = Admission(60.0, 120.0, random.Random(seed + 1))
        self.now = 0.0
        self.waiting: list[Place] = []
        self.under_way: list[Place] = []
        self.until: dict[Place, float] = {}
        self.woken: set[Place] = set()
        self.loops = [None, None, object(), object()]

    def steps(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self.now += self.rng.choice([0.0, 0.05, 0.6, 2.5])
            self.core.serve(self.now)  # whoever waits does so when the time has come
            some = [self.come, self.come, self.end, self.end, self.look, self.give_up, self.begin, self.told]
            self.rng.choice(some)()
            yield
            self.see(self.rng.random() < 0.5)

    def come(self, before: Place | None = None) -> None:
        quota = self.rng.choice(MODELS) if before is None else before.quota
        tokens = self.rng.choice([20, 100, 250])
        place = Place(quota, tokens, lambda: None, loop=self.rng.choice(self.loops))
        place.wake = lambda: self.woken.add(place)
        if before is not None and before.call is not None:
            call = before.call
            place.probes, place.origin, place.began = call.probes, call.origin, call.began
        self.waiting.append(place)
        self.core.enter(place, self.now)
        self.until[place] = place.due
        self.woken.add(place)  # it looks for itself

    def end(self) -> None:
        if not self.under_way:
            return
        place = self.under_way.pop(self.rng.randrange(len(self.under_way)))
        assert place.call is not None
        how = self.rng.choice(ENDS)
        if how is None:
            self.core.answered(place.call, 100, self.now)
        elif self.rng.random() < 0.1:
            self.core.dropped(place.call, self.now)
        else:
            self.core.failed(place.call, how, ERROR, self.now)
            if self.rng.random() < 0.8:
                self.come(before=place)

    def begin(self) -> None:
        if self.under_way:
            call = self.rng.choice(self.under_way).call
            assert call is not None
            self.core.begun(call, self.now)

    def told(self) -> None:
        left = Left(self.rng.choice([0, 1, 30, 400]), self.rng.choice([0.5, 3.0, 1e5]))
        call = self.rng.choice(self.under_way).call if self.under_way else None
        model = self.rng.choice(MODELS).model if call is None else call.model
        self.core.announced(model, {self.rng.choice(KINDS): left}, call, self.now)

    def look(self) -> None:
        absent = [place for place in self.waiting if place.absent]
        if absent:
            self.core.present(absent[0], self.now)

    def give_up(self) -> None:
        place = self.rng.choice(self.waiting) if self.waiting else None
        if place is not None and not place.decided:
            self.waiting.remove(place)
            self.core.leave(place, self.now)

    def undecided(self) -> list[Place]:
        return [place for place in self.waiting if not place.decided]

    def see(self, tasks: bool) -> None:
        """Threads see what was decided, and tasks where their loops are not busy."""
        for place in list(self.waiting):
            self.until[place] = place.due
            if place.decided and (tasks or place.loop is None):
                self.core.taken(place)
                self.waiting.remove(place)
                self.under_way += [] if place.error else [place]
        self.woken = {place for place in self.waiting if place.decided}


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_one_of_each_queue_has_a_time_at_most_and_it_is_still_to_come(seed: int) -> None:
    made = Anybody(seed)
    for _ in made.steps(120):
        timed = [place for place in made.undecided() if place.due < math.inf]
        assert all(place.due > made.now for place in timed)
        assert len({place.quota.model for place in timed}) == len(timed)
        assert made.core.due > made.now or any(place.decided for place in made.waiting)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_whoever_is_let_go_or_has_his_turn_sooner_is_woken(seed: int) -> None:
    made = Anybody(seed)
    for _ in made.steps(120):
        asleep = [place for place in made.waiting if place not in made.woken]
        assert not any(place.decided for place in asleep)
        assert not any(place.due < made.until[place] - LITTLE for place in asleep)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_whoever_may_go_after_something_has_happened_goes_at_once(seed: int) -> None:
    made = Anybody(seed)
    for _ in made.steps(120):
        before = made.core.admitted, len(made.undecided())
        made.core.serve(made.now)
        assert before == (made.core.admitted, len(made.undecided()))


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_what_is_in_flight_is_what_was_let_go_and_keeps_to_what_is_allowed(seed: int) -> None:
    made = Anybody(seed)
    for _ in made.steps(120):
        gone = [place for place in (*made.waiting, *made.under_way) if place.call is not None]
        assert made.core.in_flight == len(gone)
        for quota in MODELS:
            of_model = sum(place.quota is quota for place in gone)
            assert of_model <= (quota.in_flight or math.inf)


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.integers(1, 150))
def test_nobody_waits_for_ever_once_calls_are_answered(seed: int, steps: int) -> None:
    made = Anybody(seed)
    for _ in made.steps(steps):
        pass
    for _ in range(2_000):
        made.see(tasks=True)  # first: leave that was not taken is passed on when another of its loop looks
        for _ in made.loops:
            made.look()
        made.see(tasks=True)
        for place in made.under_way:
            assert place.call is not None
            made.core.answered(place.call, 100, made.now)
        made.under_way.clear()
        if not made.waiting:
            return
        if not any(place.decided for place in made.waiting):
            assert made.core.due < math.inf, f"there is nobody who would end the waiting: {seed}, {steps}"
            made.now = max(made.now, made.core.due)
            made.core.serve(made.now)
    raise AssertionError("somebody waits for ever")
