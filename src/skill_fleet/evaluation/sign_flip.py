"""The sign-flip test over groups and its inversion: p-value and limits of confidence from one set of subsets.

Flipping the signs of the groups of a subset gives a sum at least as far from 0 as the one observed exactly
when the true difference theta lies between the mean difference inside the subset and the mean outside of it.
So each subset is an interval around the observed mean, the p-value of theta is the share of intervals that
hold it, it falls on both sides of the mean, and the limits of confidence are order statistics.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GROUPS_FOR_T = 30
GROUPS_ENUMERATED = 16


def attainable_alpha(alpha: float, groups: int) -> float:
    """The level a comparison of so many groups really has: few groups have few ways to flip their signs.

    It is 0 where no outcome could be significant.
    """
    if groups > GROUPS_ENUMERATED:
        return alpha
    flips = 2 ** max(groups - 1, 0)
    return rank_of(alpha, flips) / flips


def rank_of(alpha: float, flips: int) -> int:
    """How many of so many flips may be as far out as the observed one where the test still speaks."""
    return math.floor(alpha * flips + 1e-9)


@lru_cache(maxsize=8)
def subsets(count: int, drawn: tuple[int, int] | None) -> "Floats":
    """Rows of 0 and 1: the groups of a subset. Never the last: a subset and its complement are one flip.

    Args:
        count: Groups: columns.
        drawn: None for all subsets, else a seed and how many are drawn after the empty one, which makes a
            drawn test valid (Phipson and Smyth 2010, Permutation p-values should never be zero).
    """
    import numpy as np

    if drawn is None:
        codes = np.arange(2 ** (count - 1), dtype=np.int64)
    else:
        seed, number = drawn
        random = np.random.default_rng(seed).integers(0, 2 ** (count - 1), number, dtype=np.int64)
        codes = np.concatenate([np.zeros(1, dtype=np.int64), random])
    bits = (codes[:, None] >> np.arange(count, dtype=np.int64)) & 1
    return bits.astype(np.float64)


def flip_intervals(sums: "Floats", sizes: "Floats", inside: "Floats") -> tuple["Floats", "Floats"]:
    """The interval of theta of each subset.

    Args:
        sums: Sums of differences by group; the last axis is the groups, any others are further comparisons.
        sizes: Pairs by group.
        inside: Subsets, by row.

    Returns:
        Lower and upper ends; the last axis is the subsets.
    """
    import numpy as np

    inside_sum, inside_size = sums @ inside.T, inside @ sizes
    outside_sum, outside_size = sums.sum(axis=-1, keepdims=True) - inside_sum, sizes.sum() - inside_size
    empty = inside_size == 0  # no sign flipped: as far from 0 as itself, whatever theta is
    inner = np.where(empty, -np.inf, inside_sum / np.where(empty, 1.0, inside_size))
    outer = np.where(empty, np.inf, outside_sum / outside_size)
    return np.minimum(inner, outer), np.maximum(inner, outer)


def flip_limits(lows: "Floats", highs: "Floats", rank: int) -> tuple["Floats", "Floats"]:
    """Limits of confidence from the ends of `flip_intervals`, of the level that leaves `rank` flips outside.

    The rank must be below the number of subsets.
    """
    import numpy as np

    last = lows.shape[-1] - 1 - rank
    return np.partition(lows, rank)[..., rank], np.partition(highs, last)[..., last]
