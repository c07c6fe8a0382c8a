"""How far the paired tests reach: the effect they call with some power, by running them on seeded noise.

With few groups a formula in quantiles of t promises too much: the sign-flip test speaks less than a t test,
differences are seldom normal, and the error that a comparison finds is itself uncertain.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from skill_fleet.evaluation.sign_flip import (
    GROUPS_ENUMERATED,
    GROUPS_FOR_T,
    attainable_alpha,
    flip_intervals,
    flip_limits,
    rank_of,
    subsets,
)
from skill_fleet.evaluation.student_t import t_quantile

if TYPE_CHECKING:
    from skill_fleet.evaluation.sign_flip import Floats

SKEWNESS = -1.0
"""Of the mean differences of groups, the worst reckoned with: a few groups in which the better one fails."""

_SEED = 20_260
_CELLS = 500_000
_NOISES = 1000
_NOISES_SKEWED = 4000
_FEW_EXTREME_FLIPS = 32
_FLIPS_ENUMERATED = 2048
_EXTREME_FLIPS = 6
_LEAST_SIMULATED_ALPHA = 5e-4
_GROUPS_SIMULATED = 200
_GRID = 32
_PAIRINGS = 3


@dataclass(frozen=True)
class Reach:
    """The effect that a test of some groups calls with some power, as a multiple.

    Attributes:
        of_spread: Of the standard deviation of the mean differences of groups.
        of_error: Of the standard error that another such comparison finds.
    """

    of_spread: float
    of_error: float


def reach(group_sizes: Sequence[int], alpha: float, power: float) -> Reach | None:
    """The reach of `compare_paired`, if the mean differences of groups are normal or as skewed as `SKEWNESS`.

    Args:
        group_sizes: Pairs in each group.
        alpha: Two-sided level of the test.
        power: Probability of the call, at the worse of the two.

    Returns:
        None where so few groups show nothing at this level.
    """
    groups = len(group_sizes)
    level = attainable_alpha(alpha, groups)
    if groups < 2 or level <= 0.0:
        return None
    if groups > _GROUPS_SIMULATED:
        return _by_formula(group_sizes, level, power)
    divisor = math.gcd(*group_sizes)
    return _simulated(tuple(sorted(size // divisor for size in group_sizes)), level, power)


@lru_cache(maxsize=256)
def _simulated(sizes: tuple[int, ...], alpha: float, power: float) -> Reach:
    normal = _with_normal_noise(sizes, alpha, power)
    plain, skewed = (_with_skewed_noise(sizes, alpha, power, skewness) for skewness in (0.0, SKEWNESS))
    return Reach(
        normal.of_spread * max(1.0, skewed.of_spread / plain.of_spread),
        normal.of_error * max(1.0, skewed.of_error / plain.of_error),
    )


def _with_normal_noise(sizes: tuple[int, ...], alpha: float, power: float) -> Reach:
    """The test on normal mean differences of groups.

    A test finds a shift exactly when the shift is above minus the lower limit of confidence of the noise, so
    one limit says at once which effects are seen. The mean of the noise is independent of what is left of it,
    and is put in by its quantiles; each noise serves with both signs.
    """
    import numpy as np

    groups = len(sizes)
    weights = np.asarray(sizes, dtype=np.float64)
    inside = _flips(groups, alpha)
    cells = groups if inside is None else len(inside)
    noise = np.random.default_rng(_SEED).normal(size=(max(64, min(_NOISES, _CELLS // cells)), groups))
    noise -= noise.mean(axis=1, keepdims=True)
    errors = _standard_errors(noise * weights, weights)
    low, high = _limits(noise * weights, weights, alpha, inside)
    grid = [NormalDist().inv_cdf((step + 0.5) / _GRID) / math.sqrt(groups) for step in range(_GRID)]
    needed = np.concatenate([-low, high])[:, None] + np.asarray(grid)
    return _reached(needed, np.concatenate([errors, errors])[:, None], power)


def _with_skewed_noise(sizes: tuple[int, ...], alpha: float, power: float, skewness: float) -> Reach:
    """The test on noise of some skewness, to be set beside that of another from the same draws.

    Skewed noise is gamma noise, turned round where the skewness is negative. Where many flips are extreme
    the t test stands in for them: skewness asks the same of both there.
    """
    import numpy as np

    groups = len(sizes)
    weights = np.asarray(sizes, dtype=np.float64)
    few = alpha * 2.0 ** (groups - 1) < _FEW_EXTREME_FLIPS
    inside = _flips(groups, alpha) if few else None
    cells = groups if inside is None else len(inside)
    count = min(_NOISES_SKEWED, _CELLS // cells) // 2
    noise = np.random.default_rng(_SEED).normal(size=(count, groups))
    noise = _skewed(np.concatenate([noise, -noise]), skewness)
    low, _ = _limits(noise * weights, weights, alpha, inside)
    return _reached(-low, _standard_errors(noise * weights, weights), power)


def _skewed(noise: "Floats", skewness: float) -> "Floats":
    """Normal noise as that of a gamma of this skewness, mean 0, variance 1 (Wilson and Hilferty 1931)."""
    if skewness == 0.0:
        return noise
    shape, sign = 4.0 / skewness**2, math.copysign(1.0, skewness)
    cube = (1.0 - 1.0 / (9.0 * shape) + sign * noise / (3.0 * math.sqrt(shape))) ** 3
    made: Floats = sign * math.sqrt(shape) * (cube - 1.0)
    return made


def _reached(needed: "Floats", errors: "Floats", power: float) -> Reach:
    """The effect above what is needed with this power, alone and beside the errors of other comparisons."""
    import numpy as np

    shifts = [1 + len(errors) * step // (2 * _PAIRINGS) for step in range(1, _PAIRINGS + 1)]
    ratios = [needed / np.roll(errors, shift, axis=0) for shift in shifts]
    return Reach(float(np.quantile(needed, power)), float(np.quantile(ratios, power)))


def _flips(groups: int, alpha: float) -> "Floats | None":
    """The flips that stand for the test's own; None where it is a t test, or too strict to be simulated."""
    if groups >= GROUPS_FOR_T:
        return None
    extreme = max(_EXTREME_FLIPS, math.floor(alpha * _FLIPS_ENUMERATED))
    number = math.ceil(extreme / alpha - 1e-6)
    if groups <= GROUPS_ENUMERATED and 2 ** (groups - 1) <= max(_FLIPS_ENUMERATED, number):
        return subsets(groups, None)
    return None if alpha < _LEAST_SIMULATED_ALPHA else subsets(groups, (_SEED, number - 1))


def _by_formula(sizes: Sequence[int], alpha: float, power: float) -> Reach:
    """Bloom's multiple of the standard error (1995, Minimum Detectable Effects): enough for many groups."""
    multiple = t_quantile(1.0 - alpha / 2.0, _df(sizes)) + t_quantile(power, _df(sizes))
    return Reach(multiple / math.sqrt(_effective(sizes)), multiple)


def _limits(
    sums: "Floats", sizes: "Floats", alpha: float, inside: "Floats | None"
) -> tuple["Floats", "Floats"]:
    """Limits of confidence of each row of group sums: of the flips, or of t where there are none."""
    if inside is not None:
        return flip_limits(*flip_intervals(sums, sizes, inside), rank_of(alpha, len(inside)))
    centre = sums.sum(axis=1) / sizes.sum()
    half = t_quantile(1.0 - alpha / 2.0, _df(sizes.tolist())) * _standard_errors(sums, sizes)
    return centre - half, centre + half


def _standard_errors(sums: "Floats", sizes: "Floats") -> "Floats":
    """Of each row of group sums what `statistics` takes: leave out each group in turn (CR3)."""
    import numpy as np

    total, n, count = sums.sum(axis=1, keepdims=True), sizes.sum(), len(sizes)
    left_out = (total - sums) / (n - sizes) - total / n
    errors: Floats = np.sqrt((count - 1) / count * (left_out**2).sum(axis=1))
    return errors


def _effective(sizes: Sequence[float]) -> float:
    """Kish's effective number of groups: the number itself when all are equal."""
    return sum(sizes) ** 2 / sum(size * size for size in sizes)


def _df(sizes: Sequence[float]) -> float:
    return max(1.0, _effective(sizes) - 1.0)
