"""Train, validation and sealed test: whole units only, so that nothing tested was seen in training.

How the shares are met: the units are put into an order by hash of seed and content, then each goes to the
part that lacks the most examples, and never so that a part would stay empty. No part then misses its share
by more than the largest unit. Of 64 such orders the one that comes nearest to the shares is taken. Neither
the order of the examples in the file nor their ids have a say; the seed and the content do.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from skill_fleet.domain.trainset import TrainingItem, Trainset, blank_fields
from skill_fleet.domain.units import Twins, twins_of, unit_key, units_of
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import DataError

Unit = tuple[TrainingItem, ...]
Part = tuple[TrainingItem, ...]

SHARES = (0.3, 0.2, 0.5)
MIN_GROUPS = 10

_PARTS = ("train", "validation", "test")
_ORDERS = 64
_TWIN_WORDS = {
    "identical": "is the same as",
    "near": "asks nearly the same as",
    "skill": "expects the same skill as",
}


@dataclass(frozen=True)
class Split:
    """Three parts of a training set that share no group and no near-duplicate.

    Args:
        train: What optimizers learn from.
        validation: What they choose by.
        test: Read for the baseline and for the final program only.
        digest: sha256 of the three parts in their order; the same split has the same digest.
        seed: What the split was drawn with.
    """

    train: Part
    validation: Part
    test: Part
    digest: str
    seed: int

    @cached_property
    def test_digest(self) -> str:
        """sha256 of what the test holds, whatever order, ids and groups: by this its readings are counted."""
        return unit_key(self.test)


def split_trainset(
    trainset: Trainset,
    *,
    seed: int,
    shares: tuple[float, float, float] = SHARES,
    min_groups: int = MIN_GROUPS,
    holdout_groups: Collection[str] = (),
) -> Split:
    """Cut one set into three.

    Args:
        trainset: The examples.
        seed: Another seed, another split.
        shares: Of train, validation and test by number of examples, all positive, scaled to a sum of 1.
        min_groups: How many independent units there have to be; fewer than three cannot be split at all.
        holdout_groups: Groups that are the test, by full name or by the part before a slash (`repo` holds out
            `repo/a` and `repo/b`). What has a near-duplicate there goes with them. The rest is cut into train
            and validation in the proportion 60 : 40.

    Raises:
        DataError: There are too few independent units, or nothing has a name in `holdout_groups`.
    """
    units = units_of(trainset.items)
    check_units(trainset, units, min_groups)
    if not holdout_groups:
        train, validation, test = cut_units(units, shares, seed)
        return split_of(train, validation, test, seed)
    held, rest = _hold_out(trainset, units, holdout_groups)
    train, validation = cut_units(rest, (0.6, 0.4), seed)
    return split_of(train, validation, held, seed)


def split_with(
    train: Trainset,
    validation: Trainset | None = None,
    test: Trainset | None = None,
    *,
    seed: int,
    shares: tuple[float, float, float] = SHARES,
    min_groups: int = MIN_GROUPS,
) -> Split:
    """A split of which some parts are given: those are used as they are, the others are cut from `train`.

    An id that stands in two files gets its part before it (`test/item-0001`).

    Args:
        train: The examples to cut, or the train part itself when both others are given.
        validation: The validation part.
        test: The sealed test.
        seed: As for `split_trainset`.
        shares: As for `split_trainset`; the parts to cut keep their proportion.
        min_groups: How many independent units all of it together has to have.

    Raises:
        DataError: An example of one file stands in another, in the same or nearly the same words, or
            expects the same skill; or there are too few independent units.
    """
    if validation is None and test is None:
        return split_trainset(train, seed=seed, shares=shares, min_groups=min_groups)
    given = [(part, name) for part, name in ((validation, "validation"), (test, "test")) if part is not None]
    _check_leaks([(train, "train"), *given])
    named = _own_ids([(train, "train"), *given])
    units = units_of([item for items in named.values() for item in items])
    check_units(train, units, min_groups, parts=1)
    if len(given) == 2:
        return split_of(named["train"], named["validation"], named["test"], seed)
    missing = [name for name in _PARTS if name == "train" or name not in named]
    cut_shares = [share for share, name in zip(shares, _PARTS, strict=True) if name in missing]
    pool = units_of(named["train"])
    if len(pool) < len(missing):
        raise _too_few(train, len(pool), len(missing), 0)
    named |= dict(zip(missing, cut_units(pool, cut_shares, seed), strict=True))
    return split_of(named["train"], named["validation"], named["test"], seed)


def split_of(train: Part, validation: Part, test: Part, seed: int) -> Split:
    """The split of three parts that are there already, with its digest."""
    content = [[[item.id, item.content_digest] for item in part] for part in (train, validation, test)]
    return Split(train, validation, test, digest=digest(content), seed=seed)


def _draw(seed: int, order: int, key: str) -> str:
    return hashlib.sha256(f"{seed}/{order}/{key}".encode()).hexdigest()


def cut_units(units: Sequence[Unit], shares: Sequence[float], seed: int) -> list[Part]:
    """The units in as many parts as there are shares, the examples of each part in a drawn order."""
    keyed = [(unit_key(unit), unit) for unit in units]
    total = sum(len(unit) for unit in units)
    targets = [total * share / sum(shares) for share in shares]
    tries = []
    for order in range(_ORDERS):
        drawn = sorted(keyed, key=lambda pair: _draw(seed, order, pair[0]))
        parts = _filled([unit for _, unit in drawn], targets)
        miss = sum(abs(sum(map(len, part)) - target) for part, target in zip(parts, targets, strict=True))
        tries.append((round(miss, 6), order, parts))
    _, order, best = min(tries, key=lambda found: found[:2])
    return [
        tuple(
            sorted(
                (item for unit in part for item in unit),
                key=lambda item: (_draw(seed, order, item.content_digest), item.id),
            )
        )
        for part in best
    ]


def _filled(units: Sequence[Unit], targets: Sequence[float]) -> list[list[Unit]]:
    """Each unit in turn to the part that lacks most; the last units to parts that would stay empty."""
    parts: list[list[Unit]] = [[] for _ in targets]
    lacks = list(targets)
    for done, unit in enumerate(units):
        empty = [index for index, part in enumerate(parts) if not part]
        open_parts = empty if len(empty) >= len(units) - done else range(len(parts))
        index = max(open_parts, key=lambda part: lacks[part])
        parts[index].append(unit)
        lacks[index] -= len(unit)
    return parts


def _hold_out(trainset: Trainset, units: Sequence[Unit], names: Collection[str]) -> tuple[Part, list[Unit]]:
    groups = {item.group for item in trainset.items}
    for name in names:
        if not any(_within(group, name) for group in groups):
            known = ", ".join(sorted({group.partition("/")[0] for group in groups})[:10])
            raise DataError(
                f"No group of {trainset.source} is '{name}' or below it.", hint=f"There are: {known}."
            )
    held: list[Unit] = []
    rest: list[Unit] = []
    for unit in units:
        is_held = any(_within(item.group, name) for item in unit for name in names)
        (held if is_held else rest).append(unit)
    if len(rest) < 2:
        raise DataError(
            f"Holding out {', '.join(sorted(names))} leaves {len(rest)} of {len(units)} independent groups "
            f"of {trainset.source}: too few for train and validation.",
            hint="Hold out less, or add examples.",
        )
    everything = [item for unit in held for item in unit]
    return tuple(sorted(everything, key=lambda item: (item.content_digest, item.id))), rest


def _within(group: str, name: str) -> bool:
    return group == name or group.startswith(name.rstrip("/") + "/")


def check_units(
    trainset: Trainset, units: Sequence[Unit], min_groups: int, *, parts: int = 3, folds: int = 0
) -> None:
    """Refuse a set of too few independent units.

    Raises:
        DataError: There are fewer than `min_groups`, or than parts or folds to be made.
    """
    if len(units) < max(parts, folds, min_groups):
        raise _too_few(trainset, len(units), parts, min_groups, folds)


def _too_few(trainset: Trainset, count: int, parts: int, min_groups: int, folds: int = 0) -> DataError:
    examples, named = len(trainset.items), len({item.group for item in trainset.items})
    options = [
        f"{option} {count}"
        for option, asked in (("--min-groups", min_groups), ("--folds", folds))
        if parts <= count < asked
    ]
    hint = "Add examples of other kinds"
    if options:
        hint += f", or accept less certain results with {' '.join(options)}"
    blank = [
        f"The field '{name}' is empty in {len(ids)} of {examples} examples. "
        for name, ids in blank_fields(trainset.items).items()
        if len(ids) > 1  # two empty ones are near-duplicates
    ]
    return DataError(
        f"The training set {trainset.source} has {_counted(count, 'independent group')} "
        f"({_counted(examples, 'example')} in {_counted(named, 'named group')}, near-duplicates joined); "
        f"at least {max(parts, folds, min_groups)} are needed.",
        hint=f"{''.join(blank)}{hint}.",
        code="too_few_groups",
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_leaks(files: Sequence[tuple[Trainset, str]]) -> None:
    """No example of one file may stand in another."""
    tagged = [replace(item, id=f"{name}\n{item.id}") for trainset, name in files for item in trainset.items]
    for twins in twins_of(tagged):
        (left_part, left), (right_part, right) = (
            item.id.split("\n", 1) for item in (twins.left, twins.right)
        )
        if left_part != right_part:
            raise DataError(
                f"'{right}' of the {right_part} data {_TWIN_WORDS[twins.reason]} "
                f"'{left}' of the {left_part} data{_likeness(twins)}.",
                hint="Take one of the two out: what is tested must not be seen before.",
                code="leak",
            )


def _likeness(twins: Twins) -> str:
    return f" (likeness {twins.likeness:.2f})" if twins.reason == "near" else ""


def _own_ids(files: Sequence[tuple[Trainset, str]]) -> dict[str, Part]:
    """The examples by part, ids that stand in several files made to differ."""
    ids = Counter(item.id for trainset, _ in files for item in trainset.items)
    shared = {name for name, count in ids.items() if count > 1}
    return {
        name: tuple(
            replace(item, id=f"{name}/{item.id}") if item.id in shared and name != "train" else item
            for item in trainset.items
        )
        for trainset, name in files
    }
