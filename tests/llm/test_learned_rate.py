"""What is learned of a rate, and unlearned: on a clock that is told the time, call by call."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.llm.limits.learned_crowd import LearnedCrowd
from skill_fleet.llm.limits.learned_rate import LearnedRate, Sent

SLOWEST = 1.0 / 60.0
OPERATIONS = ("go", "answered", "rejected", "rejected with a wait")


class Calls:
    """One caller after another, at the rate that was learned."""

    def __init__(self, slowest: float = SLOWEST) -> None:
        self.learned = LearnedRate(slowest)
        self.now = 0.0
        self._numbers = itertools.count(1)

    @property
    def rate(self) -> float:
        rate = self.learned.rate
        assert rate is not None
        return rate

    def go(self) -> Sent:
        call = Sent(self.now, next(self._numbers))
        self.learned.take(call)
        return call

    def many(self, count: int, seconds: float, *, refused: int = 0) -> None:
        """So many calls at even distances, the last so many of which are turned away."""
        calls = []
        for _ in range(count):
            calls.append(self.go())
            self.now += seconds / count
        for call in calls[: count - refused]:
            self.learned.answered(call)
        for call in calls[count - refused :]:
            self.learned.rejected(call, self.now, 0.0)

    def answered_until(self, when: float) -> list[float]:
        """Calls at the rate, all answered; what the rate was after each."""
        rates = []
        while self.now < when:
            self.now += 1.0 / self.rate
            self.learned.answered(self.go())
            rates.append(self.rate)
        return rates

    def found(self) -> float:
        """The first rate, 3 s after the start: of 12 a second that were taken."""
        self.many(40, 3.0, refused=4)
        return self.rate


def test_the_first_rate_is_a_little_less_than_what_was_taken() -> None:
    assert Calls().found() == pytest.approx(0.97 * 36 / 3.0)


def test_a_rate_without_a_ceiling_rests_for_a_quarter_of_a_minute_and_then_rises_without_end() -> None:
    made = Calls()
    found, start = made.found(), made.now
    assert set(made.answered_until(start + 14.0)) == {found}
    rates = made.answered_until(start + 45.0)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(2.0 * found, rel=0.02)
    assert made.answered_until(start + 105.0)[-1] == pytest.approx(10.0 * found, rel=0.05)


def test_a_slow_rate_without_a_ceiling_rests_longer() -> None:
    made = Calls()
    made.many(6, 12.0, refused=3)
    made.learned.forget()
    made.many(40, 80.0, refused=4)
    found, start = made.rate, made.now
    assert found < 0.6
    assert set(made.answered_until(start + 58.0)) == {found}
    assert made.answered_until(start + 182.0)[-1] > 1.9 * found


def test_a_rate_goes_back_to_just_below_its_ceiling_rests_there_and_looks_beyond() -> None:
    made = Calls()
    ceiling = made.found()
    made.now += 5.0
    call = made.go()
    assert made.learned.rejected(call, made.now, 0.0)
    start, low, top = made.now, made.rate, 0.97 * ceiling
    assert low < 0.86 * ceiling
    rates = made.answered_until(start + 60.0)
    assert rates == sorted(rates)
    assert top * 0.999 <= rates[-1] <= top
    assert max(made.answered_until(start + 89.0)) == pytest.approx(top)
    beyond = made.answered_until(start + 151.0)
    assert beyond == sorted(beyond)
    assert beyond[-1] == pytest.approx(2.0 * top, rel=0.05)
    assert beyond[-1] > ceiling


def test_calls_that_are_turned_away_for_what_went_before_say_so_twice_at_most() -> None:
    made = Calls()
    made.many(40, 3.0)
    assert made.learned.rejected(made.go(), made.now, 1.5)
    found, cuts = made.rate, []
    made.now += 0.8  # a window that the first herd still fills
    for _ in range(3):
        made.now += 0.2
        cuts.append(made.learned.rejected(made.go(), made.now, 0.5))
    assert cuts == [False, False, True]
    assert made.rate < found


def test_answers_to_calls_of_before_do_not_raise_a_rate() -> None:
    made = Calls()
    before = []
    for _ in range(300):
        before.append(made.go())
        made.now += 0.1
    made.learned.rejected(made.go(), made.now, 0.0)
    found = made.rate
    for call in before:
        made.learned.answered(call)
    assert made.rate == found


def test_calls_that_are_turned_away_in_the_same_moment_lower_a_rate_once() -> None:
    made = Calls()
    found = made.found()
    made.now += 5.0
    herd = [made.go(), made.go()]
    assert made.learned.rejected(herd[0], made.now, 0.0)
    lowered = made.rate
    assert lowered < found
    made.now += 0.6
    assert not made.learned.rejected(made.go(), made.now, 0.0)
    assert made.rate == lowered
    made.now += 0.2
    assert made.learned.rejected(made.go(), made.now, 0.0)
    assert made.rate < lowered


@pytest.mark.parametrize("asked", [3_600.0, 0.0])
def test_a_rate_never_falls_below_the_slowest(asked: float) -> None:
    made = Calls()
    for _ in range(60):
        made.now += 90.0
        made.learned.rejected(made.go(), made.now, asked)
    assert made.rate == SLOWEST


def test_nor_does_one_that_is_corrected() -> None:
    made = Calls(slowest=5.0)
    calls = []
    for _ in range(40):
        calls.append(made.go())
        made.now += 0.1
    made.learned.rejected(calls[-1], made.now, 0.0)
    assert made.rate > 5.0
    for call in calls[1:-1]:
        made.learned.rejected(call, made.now, 0.0)
    assert made.rate == 5.0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(OPERATIONS), st.floats(0.0, 20.0), st.integers(0, 30)),
        max_size=120,
    )
)
def test_whatever_happens_a_rate_is_one_and_a_good_answer_never_lowers_it(
    events: list[tuple[str, float, int]],
) -> None:
    made, calls = Calls(), [Sent(0.0, 0)]
    for what, seconds, back in events:
        made.now += seconds
        call = calls[-1 - min(back, len(calls) - 1)]
        before = made.learned.rate
        if what == "go":
            calls.append(made.go())
        elif what == "answered":
            made.learned.answered(call)
            if before is not None:
                assert made.rate >= before
        else:
            made.learned.rejected(call, made.now, seconds if what != "rejected" else 0.0)
            assert made.rate >= SLOWEST
        assert 0.0 <= made.learned.wait(made.now) < math.inf


def crowd(most: int) -> LearnedCrowd:
    """So many at once were found to be borne."""
    made = LearnedCrowd()
    made.answered(most)
    assert [made.rejected(most + 1) for _ in range(3)] == [False, False, True]
    assert made.most == most
    return made


def test_calls_at_once_are_one_more_after_two_hundred_good_answers_of_as_many() -> None:
    made = crowd(4)
    for _ in range(199):
        made.answered(4)
    made.answered(3)  # that says nothing of four
    assert made.most == 4
    made.answered(5)
    assert made.most == 5
    for _ in range(200):
        made.answered(5)
    assert made.most == 6


def test_a_refusal_among_the_answers_makes_it_two_hundred_again() -> None:
    made = crowd(4)
    for _ in range(199):
        made.answered(4)
    assert made.rejected(5)
    for _ in range(199):
        made.answered(4)
    assert made.most == 4
    made.answered(4)
    assert made.most == 5


def test_what_was_learned_of_calls_at_once_is_lowered_by_one_refusal_of_fewer() -> None:
    made = LearnedCrowd()
    made.answered(2)
    for under_way in (9, 7, 8):
        made.rejected(under_way)
    assert made.most == 6
    assert made.rejected(5)
    assert made.most == 4


def test_a_call_turned_away_with_no_more_under_way_than_were_borne_unlearns_it_and_it_takes_longer_then() -> (
    None
):
    made = crowd(4)
    made.answered(4)
    assert not made.rejected(4)
    assert made.most is None, "it was not the number at once"
    assert [made.rejected(6) for _ in range(6)] == [False] * 5 + [True]
    assert made.most == 5


def test_one_call_that_is_alone_is_never_one_too_many() -> None:
    made = LearnedCrowd()
    assert not any(made.rejected(1) for _ in range(20))
    assert made.most is None
