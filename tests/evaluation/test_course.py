"""When a measurement is given up: soon where it is clear, and hardly ever where what fails would be borne."""

import heapq
import random
import threading
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.evaluation.course import Course


def tried(fails: list[bool], share: float, seed: int = 0, threads: int = 1) -> tuple[int, bool]:
    """How many examples are tried, and whether it is given up; what fails comes back sooner."""
    course, rng = Course(len(fails), share, random.Random(seed)), random.Random(seed + 1)
    now, count, under_way = 0.0, 0, []
    while True:
        while len(under_way) < threads and not course._in_doubt() and (place := course.take()) is not None:
            took = rng.uniform(0.1, 0.3) if fails[place] else rng.uniform(0.5, 2.0)
            heapq.heappush(under_way, (now + took, place))
            count += 1
        if not under_way:
            return count, course.given_up
        now, place = heapq.heappop(under_way)
        course.note(place, failed=fails[place])


@pytest.mark.parametrize("threads", [1, 8, 32])
@pytest.mark.parametrize("total", [50, 128, 1_000])
def test_where_everything_fails_a_few_are_enough(total: int, threads: int) -> None:
    count, given_up = tried([True] * total, 0.5, threads=threads)
    assert given_up
    assert count <= 14 if threads == 1 else threads + 28


def test_what_failed_before_the_order_was_drawn_is_not_borne_a_second_time() -> None:
    """Of 24 may 12 fail; after 3, 9 of the other 21. Half of 21/9 * 20/8 * … is over 1,000 at 7."""
    assert tried([True] * 24, 0.5) == (10, True)


def test_where_nearly_everything_fails_it_takes_some_more() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        fails = [rng.random() < 0.95 for _ in range(500)]
        count, given_up = tried(fails, 0.5, seed)
        assert given_up
        assert count <= 80


@pytest.mark.parametrize("threads", [1, 8, 64])
@pytest.mark.parametrize("where", ["first", "last", "anywhere"])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_a_measurement_that_some_are_missing_from_goes_through(
    share: float, where: str, threads: int
) -> None:
    for seed in range(30):
        number = round(share * 128)
        fails = [True] * number + [False] * (128 - number)
        if where == "last":
            fails.reverse()
        elif where == "anywhere":
            random.Random(seed).shuffle(fails)
        assert tried(fails, 0.5, seed, threads) == (128, False)


@pytest.mark.parametrize("threads", [1, 16])
@pytest.mark.parametrize(("total", "share"), [(24, 0.5), (128, 0.5), (300, 0.2)])
def test_of_those_that_would_just_be_borne_one_in_a_thousand_is_given_up(
    total: int, share: float, threads: int
) -> None:
    """However the data is sorted: here what fails stands at the top."""
    most = int(share * total)
    fails = [True] * most + [False] * (total - most)
    given_up = sum(tried(fails, share, seed, threads)[1] for seed in range(1_000))
    assert given_up <= 6  # P(more | 1 expected) < 1 %


@settings(deadline=None)
@given(
    st.lists(st.booleans(), min_size=1, max_size=60),
    st.floats(0.0, 1.0),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_more_than_are_borne_is_always_given_up_and_nobody_is_tried_twice(
    fails: list[bool], share: float, threads: int, seed: int
) -> None:
    count, given_up = tried(fails, share, seed, threads)
    assert count <= len(fails)
    if sum(fails) > Fraction(share) * len(fails) + Fraction(1, 10**9):
        assert given_up
    elif not given_up:
        assert count == len(fails)


@pytest.mark.parametrize("total", [50, 100, 300])
def test_just_as_many_as_may_fail_are_borne_and_one_more_is_not(total: int) -> None:
    """0.29 * 100 is 28.999999999999996 in floats."""
    for percent in range(1, 100):
        most = percent * total // 100
        fails = [False] * (total - most) + [True] * most
        assert tried(fails, percent / 100) == (total, False), percent
        assert tried([False] * (total - most - 1) + [True] * (most + 1), percent / 100)[1], percent


def waiting(course: Course) -> tuple[list[threading.Thread], list[int | None]]:
    """Threads that take an example each, and what they took."""
    took: list[int | None] = []
    threads = [threading.Thread(target=lambda: took.append(course.take()), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    return threads, took


def in_doubt() -> Course:
    """So many fail that those under way may decide it: who takes another has to wait."""
    course = Course(100, 0.5, random.Random(0))
    for _ in range(3):
        place = course.take()
        assert place is not None
        course.note(place, failed=True)
    for _ in range(12):
        assert course.take() is not None
    return course


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(10.0)
    return not any(thread.is_alive() for thread in threads)


def test_who_waits_in_doubt_goes_on_when_it_is_stopped() -> None:
    course = in_doubt()
    threads, took = waiting(course)
    threads[0].join(0.2)
    assert took == [], "none begins before it is known whether it is needed"
    course.stop()
    assert ended(threads)
    assert took == [None] * 3


def test_who_waits_in_doubt_goes_on_when_the_doubt_is_gone() -> None:
    course = in_doubt()
    places = [course._order[number] for number in range(3, 15)]
    threads, took = waiting(course)
    for place in places:
        course.note(place, failed=False)
    assert ended(threads)
    assert len({*took, None}) == 4, "each another"
    assert not course.given_up


def test_who_waits_in_doubt_ends_when_it_is_given_up() -> None:
    course = in_doubt()
    places = [course._order[number] for number in range(3, 15)]
    threads, took = waiting(course)
    for place in places:
        course.note(place, failed=True)
    assert ended(threads)
    assert took == [None] * 3
    assert course.given_up


def test_without_failures_the_order_is_that_of_the_examples_and_a_stop_is_one() -> None:
    course = Course(10, 0.5, random.Random(0))
    for place in range(5):
        assert course.take() == place
        course.note(place, failed=False)
    course.stop()
    assert course.take() is None
    assert not course.given_up
