"""What a provider says is left, where that is wrong: nobody crawls because of a header."""

import random
from collections.abc import Mapping

import pytest

from limiter_simulation import Simulation
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.announced import Announced, Told
from skill_fleet.llm.limits.callers import Place, Quota
from skill_fleet.llm.limits.rate_headers import Kind, Left

DAY = 86_400.0


class Liar:
    """Takes every call, and says the same each time."""

    by_tokens = False

    def __init__(self, said: Left, *, tokens: bool = False) -> None:
        self.by_tokens = tokens
        self._said = said

    def asks(self, now: float, tokens: int) -> float | None:
        return None

    def left(self, now: float) -> Left:
        return self._said


def core() -> Admission:
    return Admission(60.0, 120.0, random.Random(1))


def call(admission: Admission, now: float, said: Mapping[Kind, Left]) -> None:
    place = Place(Quota("m"), 10, lambda: None)
    admission.enter(place, now)
    assert place.call is not None
    admission.announced("m", said, place.call, now + 0.1)
    admission.answered(place.call, 10, now + 0.1)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (Left(0, DAY), False),
        (Left(0, 0.017), False),
        (Left(0, DAY), True),
        (Left(0, 0.001), True),
        (Left(0, 0.0), False),
    ],
)
@pytest.mark.parametrize("clients", [1, 16])
def test_nothing_left_on_every_good_answer_slows_nobody_down(said: Left, tokens: bool, clients: int) -> None:
    items = 60 * clients
    ran = Simulation(
        Liar(said, tokens=tokens), clients=clients, items=items, latency=lambda _: 0.5, headers=True
    ).run()
    # One caller alone may have waited once: nothing had contradicted it yet.
    once = 60.1 if clients == 1 and said.reset == DAY else 0.0
    assert ran.wall <= (items / clients) * 0.5 * 1.1 + once + 1.0


def test_no_rate_is_learned_from_a_header_before_some_good_answers() -> None:
    admission = core()
    call(admission, 0.0, {"requests": Left(0, DAY)})
    assert admission.learned.rate is None


def test_a_rate_known_from_headers_alone_is_dropped_when_they_are_found_wrong() -> None:
    admission = core()
    for number in range(6):
        call(admission, float(number), {"requests": Left(5 - number, 1_000.0)})
    assert admission.learned.rate is not None
    call(admission, 500.0, {"requests": Left(0, 1_000.0)})
    assert admission.learned.rate is None


def test_what_is_said_of_tokens_is_no_rate_of_requests() -> None:
    admission = core()
    for number in range(20):
        call(admission, number * 100.0, {"tokens": Left(0, 50.0)})
    assert admission.learned.rate is None


def test_a_word_that_was_contradicted_is_heeded_again_when_a_call_is_turned_away() -> None:
    told = Announced(60.0)
    nothing: Mapping[Kind, Left] = {"requests": Left(0, DAY)}
    first, second = Told(1, 0.0, nothing), Told(2, 0.0, nothing)
    told.told(first)
    assert not told.answered(first, 1.0, doubtful=False)
    assert told.wait(1.0, 1) > 0.0
    told.told(second)
    assert told.answered(second, 1.0, doubtful=False)
    assert told.wait(1.0, 1) == 0.0
    told.told(Told(3, 1.0, nothing))
    assert told.wait(1.0, 1) == 0.0
    told.turned_away(doubtful=False)
    told.told(Told(4, 2.0, nothing))
    assert 57.0 < told.wait(3.0, 1) < 60.0


def test_no_word_makes_anybody_wait_longer_than_the_longest_pause() -> None:
    told = Announced(7.0)
    told.told(Told(1, 0.0, {"requests": Left(0, DAY), "tokens": Left(0, DAY)}))
    assert told.wait(0.0, 10) == 7.0
