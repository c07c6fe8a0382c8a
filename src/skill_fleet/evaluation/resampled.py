"""Is what a search finds better? From repeated K-fold: an interval that owns up to overlapping searches.

Each fold's gain is measured on examples that its search never saw, but any two searches share most of their
data, so the gains depend on each other and their plain standard error is too small. Nadeau and Bengio (2003,
Inference for the Generalization Error) correct it: the variance of a mean of J gains is
s^2 (1/J + n_test/n_search) instead of s^2 / J; Bouckaert and Frank (2004) use it for repeated K-fold.

A handful of folds says little about s^2, and groups are what is independent here. So s^2, the variance of a
fold's gain, is K times the jackknife variance over groups of the mean held-out gain, and the degrees of
freedom are those of the groups, however often the folds are dealt again.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from skill_fleet.evaluation.statistics import Comparison, Verdict, jackknife_error
from skill_fleet.evaluation.student_t import t_quantile, t_two_sided
from skill_fleet.foundation.errors import DataError

METHOD = "corrected resampled t over groups (Nadeau-Bengio)"
_TIE = 1e-12
_POWER = 0.8


@dataclass(frozen=True)
class HeldOut:
    """One fold: the plain program and the one found without the fold, on the fold's examples.

    Attributes:
        a: Scores of the plain program in [0, 1].
        b: Scores of the program that was found, on the same examples in the same order.
        groups: The group of each example.
        searched: How many examples the search was given.
    """

    a: Sequence[float]
    b: Sequence[float]
    groups: Sequence[str]
    searched: int

    @property
    def gain(self) -> float:
        """Mean difference on the fold."""
        return math.fsum(self.b) / len(self.b) - math.fsum(self.a) / len(self.a)


def compare_resampled(folds: Sequence[HeldOut], *, repeats: int, alpha: float = 0.05) -> Comparison:
    """What the search finds against the plain program, on examples it did not see.

    Args:
        folds: Of all repeats, equally many a repeat.
        repeats: How often the folds were dealt.
        alpha: Two-sided level; the interval has confidence 1 - alpha.

    Returns:
        `n` counts every example once a repeat.

    Raises:
        DataError: A fold has no pair, or there are fewer than two groups.
    """
    if not folds or any(not fold.a or not len(fold.a) == len(fold.b) == len(fold.groups) for fold in folds):
        raise DataError("A fold has no example with a score for both programs: nothing can be concluded.")
    sums, sizes = _by_group(folds, repeats)
    if len(sums) < 2:
        raise DataError(f"{len(sums)} group cannot show a difference.", hint="Add examples of other kinds.")
    n = sum(len(fold.a) for fold in folds)
    delta = math.fsum(sums) / math.fsum(sizes)
    plain, df = jackknife_error(sums, sizes)
    ratio = math.fsum(len(fold.a) / fold.searched for fold in folds) / len(folds)
    error = plain * _inflation(len(folds) / repeats, repeats, ratio)
    p_value, low, high = _t(delta, error, df, len(sums), alpha)
    return Comparison(
        n=n,
        groups=len(sums),
        mean_a=math.fsum(score for fold in folds for score in fold.a) / n,
        mean_b=math.fsum(score for fold in folds for score in fold.b) / n,
        delta=delta,
        interval=(low, high),
        p_value=p_value,
        verdict=_verdict(p_value, alpha, low, high),
        minimum_detectable_effect=_detectable(error, df, len(sums), alpha),
        method=f"{METHOD}, {repeats} x {len(folds) // repeats} folds",
        alpha=alpha,
    )


def expected_fold_effect(
    sd: float, group_sizes: Sequence[int], *, folds: int, repeats: int, alpha: float
) -> float | None:
    """About the smallest true gain that such a comparison, still to be made, would call 8 times of 10.

    Args:
        sd: Standard deviation of the groups' mean differences, assumed, in score units.
        group_sizes: Examples in each group.
        folds: K.
        repeats: How often the folds will be dealt.
        alpha: Two-sided level.

    Returns:
        Score units; None where no gain between scores in [0, 1] would be called, or sd is 0.
    """
    if len(group_sizes) < 2:
        return None
    effective = sum(group_sizes) ** 2 / sum(size * size for size in group_sizes)
    error = sd / math.sqrt(effective) * _inflation(folds, repeats, 1.0 / (folds - 1))
    effect = _detectable(error, max(1.0, effective - 1.0), len(group_sizes), alpha)
    return None if effect is None or effect > 1.0 else effect


def _inflation(folds: float, repeats: int, ratio: float) -> float:
    """What multiplies the error over groups: the root of K (1/(K R) + n_test/n_search)."""
    return math.sqrt(1.0 / repeats + folds * ratio)


def _by_group(folds: Sequence[HeldOut], repeats: int) -> tuple[list[float], list[float]]:
    """Sum of differences and number of examples of each group, a repeat, in order of first appearance."""
    members: defaultdict[str, list[float]] = defaultdict(list)
    for fold in folds:
        for a, b, group in zip(fold.a, fold.b, fold.groups, strict=True):
            members[group].append(b - a)
    sums = [math.fsum(values) / repeats for values in members.values()]
    return [0.0 if abs(total) < _TIE else total for total in sums], [
        len(values) / repeats for values in members.values()
    ]


def _t(delta: float, error: float, df: float, groups: int, alpha: float) -> tuple[float, float, float]:
    """P-value and interval."""
    if error < _TIE:
        p_value, half = float(abs(delta) < _TIE), 0.0
    else:
        p_value, half = t_two_sided(delta / error, df), t_quantile(1.0 - alpha / 2.0, df) * error
    # So many groups that all agree do so by chance once in 2^(groups - 1): no spread seen is no certainty.
    p_value = max(p_value, _surest(groups))
    low, high = max(-1.0, delta - half), min(1.0, delta + half)
    return (p_value, low, high) if p_value <= alpha else (p_value, min(low, 0.0), max(high, 0.0))


def _surest(groups: int) -> float:
    return 2.0 ** (1 - groups)


def _detectable(error: float, df: float, groups: int, alpha: float) -> float | None:
    if error < _TIE or _surest(groups) > alpha:
        return None
    return (t_quantile(1.0 - alpha / 2.0, df) + t_quantile(_POWER, df)) * error


def _verdict(p_value: float, alpha: float, low: float, high: float) -> Verdict:
    if p_value > alpha or low <= 0.0 <= high:
        return "not_shown"
    return "better" if low > 0.0 else "worse"
