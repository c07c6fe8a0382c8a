"""Which of several programs are worth having: no other is at least as good and cheaper."""

from collections.abc import Sequence

Point = tuple[float, float | None]


def dominates(a: Point, b: Point) -> bool:
    """Whether a is at least as good as b at no higher cost, and better or cheaper.

    Args:
        a: Quality, more is better, and cost, less is better. A cost of None is unknown, which is not zero: it
            compares with nothing.
        b: Quality and cost in the same units.
    """
    if a[1] is None or b[1] is None:
        return False
    return a[0] >= b[0] and a[1] <= b[1] and a != b


def pareto(points: Sequence[Point]) -> list[bool]:
    """For each point, in the order given, whether it is in the Pareto set: no other dominates it.

    Equal points are all in it. A point of unknown cost is in it, as no other is shown to be cheaper.
    """
    return [not any(dominates(other, point) for other in points) for point in points]
