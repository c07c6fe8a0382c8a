"""What a test set of a given size can show: minimum detectable effects and sizes needed (two-sided tests)."""

import math
from collections.abc import Sequence

from skill_fleet.evaluation.reach import reach


def minimum_detectable_effect(
    standard_error: float, group_sizes: Sequence[int], *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest true difference that a further comparison of the same design would call.

    The power is that over both draws: of the comparison whose error is taken, and of the one that is to call.

    Args:
        standard_error: Of the mean difference, as the comparison found it, in score units.
        group_sizes: Pairs in each group.
        alpha: Two-sided level of the test; 0 where no outcome could be significant.
        power: Probability of the call.

    Returns:
        Score units; None where it cannot be said: no variation seen, fewer than two groups, or too few groups
        to show anything at this alpha.
    """
    found = None if standard_error <= 0.0 else reach(group_sizes, alpha, power)
    return None if found is None else found.of_error * standard_error


def expected_detectable_effect(
    sd: float, group_sizes: Sequence[int], *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """About the smallest true difference that a comparison still to be made would call.

    Args:
        sd: Standard deviation of the mean differences of groups, assumed, in score units.
        group_sizes: Pairs in each group. Groups are the independent observations, whatever their sizes.
        alpha: Two-sided level of the test.
        power: Probability of the call.

    Returns:
        Score units; None where no difference between scores in [0, 1] would be called, or sd is 0.
    """
    found = None if sd <= 0.0 else reach(group_sizes, alpha, power)
    return None if found is None or found.of_spread * sd > 1.0 else found.of_spread * sd


def pairs_needed(
    effect: float,
    sd: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    group_size: float = 1.0,
    intra_group_correlation: float = 0.0,
) -> int:
    """How many pairs a paired comparison needs to see an effect.

    Args:
        effect: The true mean difference to be seen, in score units, not 0.
        sd: Standard deviation of the differences between pairs.
        alpha: Two-sided level of the test.
        power: Probability of seeing it.
        group_size: Mean number of pairs a group holds.
        intra_group_correlation: Of the differences within a group, in [0, 1]; Kish's design effect
            1 + (size - 1) * correlation multiplies the number of pairs.

    Raises:
        ValueError: The effect is 0: no number of pairs shows it.
    """
    if effect == 0.0:
        raise ValueError("No number of pairs shows an effect of 0.")
    design = 1.0 + (max(group_size, 1.0) - 1.0) * intra_group_correlation
    ratio = (sd / abs(effect)) ** 2 * design
    low, high = 2, 4
    while not _enough(high, ratio, group_size, alpha, power):
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if _enough(middle, ratio, group_size, alpha, power):
            high = middle
        else:
            low = middle + 1
    return low


def _enough(pairs: int, ratio: float, group_size: float, alpha: float, power: float) -> bool:
    groups = max(2, math.floor(pairs / max(group_size, 1.0)))
    found = reach([1] * groups, alpha, power)
    return found is not None and pairs >= found.of_spread**2 * groups * ratio
