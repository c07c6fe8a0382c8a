"""What a test set of a given size can show: minimum detectable effects and sizes needed (two-sided tests)."""

import math
from collections.abc import Sequence

from skill_fleet.evaluation.student_t import t_quantile


def minimum_detectable_effect(
    standard_error: float, df: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest true difference that a test would call with the given power.

    Bloom's multiple of the standard error (Bloom 1995, Minimum Detectable Effects), with t quantiles.

    Args:
        standard_error: Of the mean difference, in score units.
        df: Degrees of freedom of that standard error.
        alpha: Two-sided level of the test; 0 where no outcome could be significant.
        power: Probability of the call.

    Returns:
        Score units; None where it cannot be said: no variation seen, no degree of freedom, alpha of 0.
    """
    if standard_error <= 0.0 or df <= 0.0 or alpha <= 0.0:
        return None
    return (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(power, df)) * standard_error


def expected_detectable_effect(
    sd: float, group_sizes: Sequence[int], *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """About the smallest true difference that a comparison still to be made would call.

    Args:
        sd: Standard deviation of the mean differences of groups, assumed, in score units.
        group_sizes: Pairs in each group. Groups are the independent observations; a few large ones count as
            Kish's effective number, (sum of sizes)^2 / sum of squared sizes.
        alpha: Two-sided level of the test.
        power: Probability of the call.

    Returns:
        Score units; None where no difference between scores in [0, 1] would be called, or sd is 0.
    """
    if not group_sizes:
        return None
    effective = sum(group_sizes) ** 2 / sum(size * size for size in group_sizes)
    error = sd / math.sqrt(effective)
    effect = minimum_detectable_effect(error, effective - 1.0, alpha=alpha, power=power)
    return None if effect is None or effect > 1.0 else effect


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
    df = max(1.0, math.floor(pairs / max(group_size, 1.0)) - 1.0)
    return pairs >= (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(power, df)) ** 2 * ratio
