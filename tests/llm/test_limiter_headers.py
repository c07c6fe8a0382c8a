"""What a provider says is left, where that is wrong: nobody crawls because of a header."""

import itertools
import random
from collections.abc import Mapping

import pytest

from limiter_simulation import Simulation, TokenBucket
from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
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


@pytest.mark.parametrize("remaining", [0, 1, 3, 15])
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("clients", [4, 16, 64])
def test_as_much_left_after_every_good_answer_is_no_count(remaining: int, tokens: bool, clients: int) -> None:
    server = Liar(Left(remaining, 60.0), tokens=tokens)
    ran = Simulation(server, clients=clients, items=60 * clients, latency=lambda _: 0.5, headers=True).run()
    assert ran.wall <= 60 * 0.5 * 1.05 + 4.0  # until it is found out


@pytest.mark.parametrize("clients", [16, 64])
@pytest.mark.parametrize("burst", [10, 30])
def test_a_bucket_whose_reset_is_when_it_is_full_is_used_as_it_fills(clients: int, burst: int) -> None:
    """What it says of the reset is true of a full bucket only: a call is taken every tenth of a second."""
    ran = Simulation(
        TokenBucket(10, burst), clients=clients, items=900, retry_after="exact", headers=True
    ).run()
    assert ran.wall <= 1.08 * (900 - burst) / 10
    assert ran.rejected_share(burst / 10) <= 0.02


def test_answers_that_overtake_each_other_contradict_nothing() -> None:
    told = Announced(60.0)
    for number, remaining in ((2, 7), (1, 8), (4, 5), (3, 6)):
        word = Told(number, 0.0, {"requests": Left(remaining, 60.0)})
        told.told(word)
        assert not told.answered(word, 1.0, doubtful=False)
    after_the_reset = Told(5, 60.0, {"requests": Left(7, 60.0)})
    assert not told.answered(after_the_reset, 61.0, doubtful=False)
    again = [Told(number, 61.0, {"requests": Left(7, 60.0)}) for number in (6, 7)]
    assert [told.answered(word, 62.0, doubtful=False) for word in again] == [False, True]


def test_how_often_a_number_was_left_is_forgotten_after_two_thousand_others() -> None:
    """What a server may make up at will does not fill the memory."""

    def again(others: int) -> bool:
        told, numbers = Announced(60.0), itertools.count(1)

        def answered(remaining: int) -> bool:
            word = Told(next(numbers), 0.0, {"requests": Left(remaining, 60.0)})
            told.told(word)
            return told.answered(word, 1.0, doubtful=False)

        assert not any(answered(7) for _ in range(2))
        assert not any(answered(1_000 + other) for other in range(others))
        return answered(7)

    assert again(1_900)
    assert not again(2_100)


def test_no_rate_is_learned_from_a_header_before_some_good_answers() -> None:
    admission = core()
    call(admission, 0.0, {"requests": Left(0, DAY)})
    assert admission.rate.learned.rate is None


def test_a_rate_known_from_headers_alone_is_dropped_when_they_are_found_wrong() -> None:
    admission = core()
    for number in range(6):
        call(admission, float(number), {"requests": Left(5 - number, 1_000.0)})
    assert admission.rate.learned.rate is not None
    call(admission, 500.0, {"requests": Left(0, 1_000.0)})
    assert admission.rate.learned.rate is None


def test_what_is_said_of_tokens_is_no_rate_of_requests() -> None:
    admission = core()
    for number in range(20):
        call(admission, number * 100.0, {"tokens": Left(0, 50.0)})
    assert admission.rate.learned.rate is None


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


def test_a_word_that_binds_no_more_when_another_is_over_holds_nobody_up_any_longer() -> None:
    admission = core()
    for number in range(30):
        call(admission, number / 10.0, {})
    turned_away = Place(Quota("m"), 10, lambda: None)
    admission.enter(turned_away, 3.5)
    assert turned_away.call is not None
    slow = Failure("rate_limit", "retry", sent=False, retry_after=0.1)
    admission.failed(turned_away.call, slow, ProviderError("Slow down."), 3.6)
    assert admission.rate.learned.rate is not None
    announced = admission._model("m").announced
    announced.turned_away(doubtful=True)
    for _ in range(3):
        announced.answered(Told(1, 0.0), 4.0, doubtful=True)  # it is heeded once more
    admission.announced("m", {"requests": Left(0, 5.0), "tokens": Left(0, 50.0)}, None, 10.0)
    waiting = Place(Quota("m"), 10, lambda: None)
    admission.enter(waiting, 10.1)
    admission.serve(14.9)
    assert waiting.call is None
    admission.serve(15.1)
    assert waiting.call is not None
