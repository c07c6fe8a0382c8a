"""Repeated group K-fold: every example is tested once a repeat, by programs that never saw it or its like.

Where data is small, one sealed test of half of it can show nothing. Instead the units (see `units`) are dealt
into K folds. Each fold in turn is a sealed test, and the rest is cut into train and validation for a whole
search of its own. Another repeat deals anew.
"""

from collections.abc import Sequence

from skill_fleet.domain.split import MIN_GROUPS, Split, Unit, check_units, cut_units, split_of
from skill_fleet.domain.trainset import Trainset
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError

SEARCH_SHARES = (0.6, 0.4)
"""Of train and validation, as in a split with a test."""
_STEP = 7919  # between the seeds of two repeats; a prime, so that near seeds of runs share none


def split_without_test(trainset: Trainset, *, seed: int, min_groups: int = MIN_GROUPS) -> Split:
    """All examples for the search, none for a test.

    Raises:
        DataError: There are too few independent units.
    """
    units = units_of(trainset.items)
    check_units(trainset, units, min_groups, parts=2)
    train, validation = cut_units(units, SEARCH_SHARES, seed)
    return split_of(train, validation, (), seed)


def fold_splits(
    trainset: Trainset, *, folds: int, repeats: int = 1, seed: int, min_groups: int = MIN_GROUPS
) -> tuple[Split, ...]:
    """The folds of all repeats, in order; the tests of one repeat together are the whole set.

    Args:
        trainset: The examples; their order and ids have no say.
        folds: K; folds of one repeat differ in size by no more than the largest unit.
        repeats: How often the units are dealt.
        seed: Another seed, other folds.
        min_groups: How many independent units there have to be; K, and three, in any case.

    Raises:
        DataError: There are too few independent units.
    """
    units = units_of(trainset.items)
    check_units(trainset, units, min_groups, folds=folds)
    found = []
    for repeat in range(repeats):
        drawn = seed + _STEP * repeat
        for test in cut_units(units, [1.0] * folds, drawn):
            held = {item.id for item in test}
            found.append(_searched(trainset, [unit for unit in units if unit[0].id not in held], test, drawn))
    return tuple(found)


def _searched(trainset: Trainset, rest: Sequence[Unit], test: Unit, seed: int) -> Split:
    if len(rest) < 2:
        raise DataError(
            f"A fold leaves {len(rest)} independent group of {trainset.source} for train and validation.",
            hint="More folds, or more examples of other kinds.",
            code="too_few_groups",
        )
    train, validation = cut_units(rest, SEARCH_SHARES, seed)
    return split_of(train, validation, test, seed)
