"""Numbers that are not known yet: where each is likely to lie, and what it can never pass."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A number that is expected, none negative.

    Attributes:
        low: Low end of where it is likely to lie.
        high: High end of where it is likely to lie, about 9 times in 10 with `low`.
        bound: What it never passes; None where `high` is meant as that.
    """

    low: float
    high: float
    bound: float | None = None

    @property
    def most(self) -> float:
        """What it never passes."""
        return self.high if self.bound is None else self.bound

    @property
    def middle(self) -> float:
        """As likely passed as not: what is known to a factor lies in its logarithm's middle."""
        return math.sqrt(self.low * self.high)

    def plus(self, other: "Interval") -> "Interval":
        """The sum of two numbers that vary independently."""
        return total((self, other))

    def times(self, other: "Interval") -> "Interval":
        """The product of two numbers that vary independently: `plus`, of their logarithms.

        What may be 0 is not known to any factor: with it, ends multiply as they are.
        """
        most = self.most * other.most
        if self.low <= 0 or other.low <= 0:
            return _likely(0, self.high * other.high, most)
        middle = math.sqrt(self.low * self.high * other.low * other.high)
        half = math.hypot(math.log(self.high / self.low), math.log(other.high / other.low)) / 2
        return _likely(middle / math.exp(half), middle * math.exp(half), most)

    def along(self, other: "Interval") -> "Interval":
        """The sum of two numbers that are high together and low together: their ends add."""
        return Interval(self.low + other.low, self.high + other.high, self.most + other.most)

    def scaled(self, factor: float) -> "Interval":
        """So many times as much of everything."""
        return Interval(self.low * factor, self.high * factor, self.most * factor)

    def until(self, other: "Interval") -> "Interval":
        """From the low end of this to the high end of the other: which of both it is, nobody knows."""
        return Interval(min(self.low, other.low), max(self.high, other.high), max(self.most, other.most))


NOTHING = Interval(0, 0)
ONE = Interval(1, 1)


def total(numbers: Iterable[Interval]) -> Interval:
    """The sum of numbers that vary independently: distances from the middles add as sides of a right angle.

    All at their ends at once is unlikely; bounds add as they are.
    """
    all_of = list(numbers)
    middle = math.fsum(one.middle for one in all_of)
    below = math.hypot(*(one.middle - one.low for one in all_of))
    above = math.hypot(*(one.high - one.middle for one in all_of))
    return _likely(middle - below, middle + above, math.fsum(one.most for one in all_of))


def exactly(number: float) -> Interval:
    """A number that is known."""
    return Interval(number, number)


def _likely(low: float, high: float, most: float) -> Interval:
    """An interval in order: rounding may put equal ends the wrong way round."""
    low = max(0.0, low)
    high = max(low, high)
    return Interval(low, high, max(high, most))
