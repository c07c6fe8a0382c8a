"""Several candidates against one reference: all verdicts together are wrong in at most alpha of cases.

Holm's procedure (Holm 1979, A simple sequentially rejective multiple test procedure): the smallest of m
p-values is asked for alpha / m, the next for alpha / (m - 1), and so on until one fails. It needs no
independence, which matters: all candidates are compared with one reference on one set of examples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skill_fleet.evaluation.statistics import Comparison, compare_paired

_RESAMPLES = 20_000


@dataclass(frozen=True)
class InFamily:
    """One comparison of a family.

    Attributes:
        comparison: At the level at which Holm's procedure tested it, which is its `alpha`; its interval has
            confidence 1 - that level by itself. Its minimum detectable effect is that at alpha / m: what
            would be seen whatever the others show.
        p_adjusted: Holm's adjusted p-value: at most the family's alpha exactly where there is a verdict.
        simultaneous: The interval at confidence 1 - alpha / m: those of all candidates hold together with
            confidence 1 - alpha. It can hold 0 although Holm's procedure shows a difference.
    """

    comparison: Comparison
    p_adjusted: float
    simultaneous: tuple[float, float]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [0.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = running
    return adjusted


def holm_levels(p_values: Sequence[float], alpha: float) -> list[float]:
    """The level at which Holm's procedure tests each p-value; of equal ones the same, the strictest.

    What it no longer tests, after the first that fails, has the level of that one.
    """
    shown = [value <= alpha for value in holm(p_values)]
    left = len(p_values) - sum(shown)
    return [
        alpha / (len(p_values) - sum(other < value for other in p_values) if is_shown else left)
        for value, is_shown in zip(p_values, shown, strict=True)
    ]


def compare_with_reference(
    reference: Sequence[float],
    candidates: Sequence[Sequence[float]],
    groups: Sequence[str],
    *,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[InFamily]:
    """Each candidate against the reference, Holm's procedure over all.

    Args:
        reference: Scores in [0, 1].
        candidates: Scores of each on the same examples, in the same order.
        groups: The group of each example.
        alpha: The level of the family.
        seed: As in `compare_paired`.

    Returns:
        In the order of the candidates. Of one candidate, what `compare_paired` says.

    Raises:
        DataError: As `compare_paired`.
    """
    number = max(1, len(candidates))
    # One set of sign flips, fine enough for the strictest level: a p-value must not depend on its level.
    draws = max(_RESAMPLES, math.ceil(20.0 * number / alpha))

    def compared(scores: Sequence[float], level: float) -> Comparison:
        return compare_paired(reference, scores, groups, alpha=level, seed=seed, resamples=draws)

    strict = [compared(scores, alpha / number) for scores in candidates]
    p_values = [one.p_value for one in strict]
    return [
        InFamily(
            replace(compared(scores, level), minimum_detectable_effect=first.minimum_detectable_effect),
            adjusted,
            first.interval,
        )
        for scores, level, adjusted, first in zip(
            candidates, holm_levels(p_values, alpha), holm(p_values), strict, strict=True
        )
    ]
