"""Intervals: sums and products of what is not known yet."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.optimization.interval import NOTHING, Interval, exactly, total

ends = st.floats(0, 1e6).map(lambda value: round(value, 3))


@st.composite
def intervals(draw):
    low, high, bound = sorted(draw(st.tuples(ends, ends, ends)))
    return Interval(low, high, draw(st.sampled_from([None, bound])))


def ordered(found):
    return 0 <= found.low <= found.high <= found.most


@given(intervals(), intervals())
def test_sums_and_products_are_in_order_and_no_wider_than_the_ends(a, b):
    both, product = a.plus(b), a.times(b)
    assert ordered(both)
    assert ordered(product)
    assert both.low >= (a.low + b.low) * (1 - 1e-9) - 1e-9
    assert both.high <= (a.high + b.high) * (1 + 1e-9) + 1e-9
    assert product.low >= a.low * b.low * (1 - 1e-9) - 1e-9
    assert product.high <= a.high * b.high * (1 + 1e-9) + 1e-9
    assert both.most >= a.most + b.most - 1e-6
    assert product.most >= a.most * b.most * (1 - 1e-9)


@given(intervals(), intervals())
def test_the_order_of_two_numbers_says_nothing(a, b):
    assert a.plus(b) == b.plus(a)
    one, other = a.times(b), b.times(a)
    assert (one.low, one.high, one.most) == pytest.approx((other.low, other.high, other.most))


@given(intervals(), ends, ends, ends)
def test_more_of_a_part_is_never_less_of_the_whole(other, low, more_low, more_high):
    a = Interval(low, low + 5)
    b = Interval(low + more_low, low + more_low + 5 + more_high)
    pairs = [(a.plus(other), b.plus(other))]
    if a.low > 0 or b.low == 0 or other.low == 0:
        pairs.append((a.times(other), b.times(other)))
    for found, wider in pairs:
        slack = 1e-9 * (1 + wider.high)
        assert wider.low >= found.low - slack
        assert wider.high >= found.high - slack
        assert wider.most >= found.most - slack


@given(intervals(), ends)
def test_what_may_be_nothing_is_known_to_no_factor(other, high):
    product = Interval(0, high).times(other)
    assert (product.low, product.high) == (0, high * other.high)
    known = Interval(high / 2, high).times(other)
    assert known.high <= product.high * (1 + 1e-9), "a factor that is known makes a product better known"


def test_what_is_known_adds_and_multiplies_as_it_is():
    assert exactly(3).plus(exactly(4)) == Interval(7, 7, 7)
    product = exactly(3).times(Interval(2, 8))
    assert (product.low, product.high) == pytest.approx((6, 24))
    assert total([]).most == 0
    assert NOTHING.times(Interval(1, 2)).most == 0


def test_many_parts_are_known_better_together_than_one_by_one():
    one = Interval(50, 200)
    many = total([one] * 16)
    assert many.high / many.low < one.high / one.low / 2
    assert many.most == 16 * 200


def test_a_sum_of_draws_lies_in_the_interval_of_the_sum_as_often_as_a_draw_in_its_own():
    """Draws with 90 % of them in [50, 200], spread evenly to a factor; sums of six and products of three."""
    rng = random.Random(3)
    one, spread = Interval(50, 200), math.log(2) / 1.645
    draw = lambda: 100 * math.exp(rng.gauss(0, spread))  # noqa: E731
    sums, products = total([one] * 6), one.times(one).times(one)
    runs = 2000
    in_sum = sum(sums.low <= sum(draw() for _ in range(6)) <= sums.high for _ in range(runs))
    in_product = sum(products.low <= draw() * draw() * draw() <= products.high for _ in range(runs))
    assert 0.85 <= in_sum / runs <= 0.96
    assert 0.87 <= in_product / runs <= 0.93
