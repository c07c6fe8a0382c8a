"""What must stay together: examples that know each other's answer.

Two examples are in one unit when they have the same group, ask the same in nearly the same words, or expect
the same skill; so is everything that hangs together by a chain of such pairs. Units, not examples, are
independent: a split moves whole units, and a set has as many independent observations as it has units.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from skill_fleet.domain.similarity import NEAR_DUPLICATE, clusters, near_duplicates
from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.foundation.canonical import digest


@dataclass(frozen=True)
class Twins:
    """Two examples that ask the same or expect the same.

    Args:
        left: The earlier one.
        right: The later one.
        likeness: Cosine of their tasks in [0, 1]; 1 when their content is identical.
        reason: `identical` content, `near` task, or the same `skill` expected.
    """

    left: TrainingItem
    right: TrainingItem
    likeness: float
    reason: str


def twins_of(items: Sequence[TrainingItem], *, threshold: float = NEAR_DUPLICATE) -> tuple[Twins, ...]:
    """Every pair near in words, and a chain through the examples of each content and each expected skill."""
    found: dict[tuple[int, int], Twins] = {}
    for left, right in _chains(item.content_digest for item in items):
        found[left, right] = Twins(items[left], items[right], 1.0, "identical")
    for left, right, likeness in near_duplicates([item.text for item in items], threshold):
        if items[left].content_digest == items[right].content_digest:
            found[left, right] = Twins(items[left], items[right], 1.0, "identical")
        else:
            found[left, right] = Twins(items[left], items[right], likeness, "near")
    for left, right in _chains(_gold(item) for item in items):
        found.setdefault((left, right), Twins(items[left], items[right], 0.0, "skill"))
    return tuple(found[pair] for pair in sorted(found))


def units_of(
    items: Sequence[TrainingItem], *, threshold: float = NEAR_DUPLICATE
) -> tuple[tuple[TrainingItem, ...], ...]:
    """The examples by what must stay together, each unit and the whole in the order of the examples.

    Args:
        items: Examples with ids that differ.
        threshold: Cosine from which two tasks are near-duplicates.
    """
    place = {item.id: index for index, item in enumerate(items)}
    pairs = [(place[twins.left.id], place[twins.right.id]) for twins in twins_of(items, threshold=threshold)]
    pairs += _chains(item.group for item in items)
    units: defaultdict[int, list[TrainingItem]] = defaultdict(list)
    for item, first in zip(items, clusters(len(items), pairs), strict=True):
        units[first].append(item)
    return tuple(tuple(unit) for unit in units.values())


def unit_key(unit: Iterable[TrainingItem]) -> str:
    """A name for a unit made of what it holds: the same whatever the order, the ids and the groups."""
    return digest(sorted(item.content_digest for item in unit))


def _gold(item: TrainingItem) -> Hashable:
    """The skill expected, or None where that is not known."""
    path, name = item.fields.get("expected_taxonomy_path"), item.fields.get("expected_name")
    return (path, name) if item.is_skill and path and name else None


def _chains(keys: Iterable[Hashable]) -> list[tuple[int, int]]:
    """Each position with the one before it that has the same key; None is no key."""
    last: dict[Hashable, int] = {}
    pairs = []
    for index, key in enumerate(keys):
        if key is None:
            continue
        if key in last:
            pairs.append((last[key], index))
        last[key] = index
    return pairs
