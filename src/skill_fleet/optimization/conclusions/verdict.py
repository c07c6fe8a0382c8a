"""The sealed test: what may be concluded from one more reading of it."""

import math
from collections.abc import Sequence

from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.domain.units import unit_key
from skill_fleet.evaluation.measurement import Measurement, paired
from skill_fleet.evaluation.multiplicity import InFamily, compare_with_reference
from skill_fleet.evaluation.statistics import Comparison, alpha_for_read, compare_paired
from skill_fleet.foundation.errors import DataError


def digest_of_test(items: Sequence[TrainingItem]) -> str:
    """A test set by what it holds, whatever order, ids and groups, and whatever the rest of the data is."""
    return unit_key(items)


def groups_needed(alpha: float) -> int:
    """The fewest independent groups of which a sign-flip test can show a difference at this level."""
    return math.ceil(1 - math.log2(alpha))


def judge(baseline: Measurement, candidate: Measurement, *, reads: int, seed: int) -> Comparison:
    """The candidate against the baseline, on the examples scored for both, at the alpha of this reading."""
    a, b, groups = paired(baseline, candidate)
    return compare_paired(a, b, groups, alpha=alpha_for_read(reads), seed=seed)


def judge_family(
    reference: Measurement, candidates: Sequence[Measurement], *, reads: int, seed: int
) -> list[InFamily]:
    """Each candidate against the reference, all together at the alpha of this reading.

    Args:
        reference: Cut, as the candidates are, to the examples scored for all: see `scored_for_all`.
        candidates: In any order.
        reads: The how-manieth reading of the test this is.
        seed: As in `compare_paired`.

    Raises:
        DataError: There is nothing to compare.
    """
    groups = [one.group for one in reference.outcomes]
    scores = [list(one.scores().values()) for one in (reference, *candidates)]
    return compare_with_reference(scores[0], scores[1:], groups, alpha=alpha_for_read(reads), seed=seed)


def scored_for_all(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Measurements of the same examples, cut to those that have a score in all of them, in one order.

    Raises:
        DataError: They are not of the same examples.
    """
    order = [one.item_id for one in measurements[0].outcomes]
    if any({one.item_id for one in found.outcomes} != set(order) for found in measurements):
        raise DataError("The measurements are not of the same examples.", hint="Measure all on one set.")
    scored = [found.scores() for found in measurements]
    kept = [item for item in order if all(item in scores for scores in scored)]
    by_id = [{one.item_id: one for one in found.outcomes} for found in measurements]
    return [Measurement(tuple(outcomes[item] for item in kept)) for outcomes in by_id]
