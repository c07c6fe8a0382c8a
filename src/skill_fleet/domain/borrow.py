"""A few chosen examples to learn from, and the rest of a split from another set.

Where somebody names too few skills to be cut into three parts, all of them are for training; what is chosen
by and tested on comes from a set that holds nothing of them: no example of their group, none that asks
nearly the same or expects the same skill, and nothing that hangs together with such a one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skill_fleet.domain.split import SHARES, Split, Unit, check_units, cut_units, split_of
from skill_fleet.domain.trainset import TrainingItem, Trainset, trainset_from
from skill_fleet.domain.units import units_of

_CHOSEN = "chosen"
_POOL = "pool"


@dataclass(frozen=True)
class Borrowed:
    """A split whose training part was given.

    Attributes:
        split: Its validation and sealed test come from the pool.
        left_out: Examples of the pool that are kin of what was chosen, and so in no part.
    """

    split: Split
    left_out: int

    @property
    def trainset(self) -> Trainset:
        """All examples of the split."""
        everything = (*self.split.train, *self.split.validation, *self.split.test)
        return trainset_from(everything, source="the training paths and the workspace's training set")


def borrowing_split(chosen: Trainset, pool: Trainset, *, seed: int, min_groups: int) -> Borrowed:
    """All of what was chosen for training; validation and sealed test cut from what is no kin of it.

    Args:
        chosen: What to learn from.
        pool: Where the rest comes from.
        seed: As for `split_trainset`.
        min_groups: How many independent units the pool must have without kin of what was chosen.

    Raises:
        DataError: Too few independent units are left.
    """
    units = _without_kin(chosen.items, pool.items)
    left = sum(len(unit) for unit in units)
    check_units(pool, units, min_groups, parts=2)
    validation, test = cut_units(units, SHARES[1:], seed)
    named = [tuple(_own_id(item, chosen.items) for item in part) for part in (validation, test)]
    return Borrowed(split_of(chosen.items, named[0], named[1], seed), len(pool.items) - left)


def _without_kin(chosen: Sequence[TrainingItem], pool: Sequence[TrainingItem]) -> list[Unit]:
    """The units of the pool that stay apart from what was chosen when all are put together."""
    places = {f"{_POOL}/{index}": item for index, item in enumerate(pool)}
    tagged = [replace(item, id=f"{_CHOSEN}/{index}") for index, item in enumerate(chosen)]
    tagged += [replace(item, id=tag) for tag, item in places.items()]
    return [
        tuple(places[item.id] for item in unit)
        for unit in units_of(tagged)
        if all(item.id in places for item in unit)
    ]


def _own_id(item: TrainingItem, chosen: Sequence[TrainingItem]) -> TrainingItem:
    """The example with an id that none of the chosen ones has."""
    taken = {one.id for one in chosen}
    return replace(item, id=f"borrowed/{item.id}") if item.id in taken else item
