#!/usr/bin/env python3
"""Rank features by reach x impact / effort when each number is a range.

    python3 rank_features.py items.csv --capacity 12 --seed 7

Columns: item, reach_low, reach_high, impact_low, impact_high, effort_low, effort_high and, if
wanted, needs (items that must come first, joined by ';'). A range is read as an 80 % interval of a
log-normal value. In each sample items are taken by score, prerequisites before them, while the
effort fits the capacity; the share of samples that take an item is its probability of being in.
Exit codes: 0 done, 2 the table cannot be used.
"""

import argparse
import csv
import random
import sys
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import NormalDist, median

PARTS = ("reach", "impact", "effort")
Z80 = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Item:
    """A candidate: its ranges by part, as (mean, deviation) of the logarithm, and what it needs."""

    name: str
    ranges: dict[str, tuple[float, float]]
    needs: tuple[str, ...]

    def draw(self, random_: random.Random) -> tuple[float, float]:
        """(score, effort) of one possible world."""
        reach, impact, effort = (exp(random_.gauss(*self.ranges[part])) for part in PARTS)
        return reach * impact / effort, effort


def read(path: Path) -> list[Item]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        wanted = {"item", *(f"{part}_{end}" for part in PARTS for end in ("low", "high"))}
        if missing := wanted - set(reader.fieldnames or []):
            raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")
        items = [parse(row, reader.line_num) for row in reader]
    names = [item.name for item in items]
    if not items or len(set(names)) != len(names):
        raise ValueError("there must be at least one item, and no name twice")
    for item in items:
        if unknown := set(item.needs) - set(names):
            raise ValueError(f"'{item.name}' needs unknown items: {', '.join(sorted(unknown))}")
        chain(item, {other.name: other for other in items}, ())
    return items


def parse(row: dict[str, str], line: int) -> Item:
    ranges = {}
    for part in PARTS:
        try:
            low, high = float(row[f"{part}_low"]), float(row[f"{part}_high"])
        except (TypeError, ValueError):
            raise ValueError(f"line {line}: {part} is not two numbers") from None
        if not 0 < low <= high < float("inf"):
            raise ValueError(f"line {line}: {part} must be 0 < low <= high")
        ranges[part] = ((log(low) + log(high)) / 2, (log(high) - log(low)) / 2 / Z80)
    needs = tuple(name.strip() for name in (row.get("needs") or "").split(";") if name.strip())
    return Item(row["item"].strip(), ranges, needs)


def chain(item: Item, items: dict[str, Item], above: tuple[str, ...]) -> list[str]:
    """The item's prerequisites, deepest first, then itself."""
    if item.name in above:
        raise ValueError(f"circular needs: {' -> '.join([*above, item.name])}")
    names: list[str] = []
    for name in item.needs:
        names += [n for n in chain(items[name], items, (*above, item.name)) if n not in names]
    return [*names, item.name]


def simulate(
    items: list[Item], capacity: float, samples: int, seed: int
) -> dict[str, tuple[float, float, float]]:
    """By name: (median score, median effort, probability of being in)."""
    random_ = random.Random(seed)
    by_name = {item.name: item for item in items}
    chains = {item.name: chain(item, by_name, ()) for item in items}
    drawn: dict[str, list[tuple[float, float]]] = {item.name: [] for item in items}
    taken_in = dict.fromkeys(by_name, 0)
    for _ in range(samples):
        world = {item.name: item.draw(random_) for item in items}
        taken: set[str] = set()
        left = capacity
        for name in sorted(world, key=lambda n: -world[n][0]):
            extra = [n for n in chains[name] if n not in taken]
            cost = sum(world[n][1] for n in extra)
            if cost <= left:
                taken |= set(extra)
                left -= cost
        for name, values in world.items():
            drawn[name].append(values)
            taken_in[name] += name in taken
    return {
        name: (median(s for s, _ in values), median(e for _, e in values), taken_in[name] / samples)
        for name, values in drawn.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--capacity", type=float, required=True, help="effort that can be spent, same unit")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.samples < 1 or arguments.capacity <= 0:
        parser.error("--samples and --capacity must be positive")
    try:
        items = read(arguments.file)
    except (OSError, ValueError, csv.Error) as error:
        print(f"rank_features: {arguments.file}: {error}", file=sys.stderr)
        return 2
    results = simulate(items, arguments.capacity, arguments.samples, arguments.seed)
    width = max(len(name) for name in results)
    print(f"{'item':{width}}  {'score':>9}  {'effort':>7}  {'in':>5}")
    for name, (score, effort, share) in sorted(results.items(), key=lambda pair: (-pair[1][2], -pair[1][0])):
        print(f"{name:{width}}  {score:9.1f}  {effort:7.1f}  {share:5.0%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
