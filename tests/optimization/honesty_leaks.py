"""Leaks planted into the shipped training set, and whether split or lint catch them.

Used by the tests and by `benchmarks/honesty.py`. A planted near-duplicate expects another skill than the
example it was made from and stands in a group of its own, so that only its words give it away.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skill_fleet.config.paths import shipped_trainset
from skill_fleet.domain.lint import lint_trainset
from skill_fleet.domain.split import split_trainset
from skill_fleet.domain.trainset import trainset_of

Item = dict
Plant = Callable[[Item, random.Random], Item]
SEEDS = range(5)


def _near(change: Callable[[str, random.Random], str]) -> Plant:
    def plant(item: Item, rng: random.Random) -> Item:
        name = f"planted-{rng.randrange(10**9)}"
        path = f"business/planted/{name.replace('-', '_')}"
        expected = {**item["expected"], "name": name, "taxonomy_path": path}
        return {**item, "task_description": change(item["task_description"], rng), "expected": expected}

    return plant


def _retyped(task: str, _rng: random.Random) -> str:
    return re.sub(r"[.,;:!?'\"()-]+", " ", task.upper())


def _polite(task: str, _rng: random.Random) -> str:
    return f"Hi there, could you please help me with this? {task} Thanks a lot in advance!"


def _shuffled(task: str, rng: random.Random) -> str:
    words = task.split()
    return " ".join(rng.sample(words, len(words)))


def _replaced(share: float) -> Callable[[str, random.Random], str]:
    def change(task: str, rng: random.Random) -> str:
        words = task.split()
        others = _other_words()
        for index in rng.sample(range(len(words)), max(1, round(share * len(words)))):
            words[index] = rng.choice(others)
        return " ".join(words)

    return change


def _other_words() -> list[str]:
    return sorted({word for item in shipped() for word in item["task_description"].split()})


def _same_gold(item: Item, rng: random.Random) -> Item:
    """Another question with the same answer: no word of the first."""
    said = set(item["task_description"].casefold().split())
    words = [word for word in _other_words() if word.casefold() not in said]
    return {**item, "task_description": " ".join(rng.sample(words, 25))}


def _naming(form: Callable[[Item], str]) -> Plant:
    def plant(item: Item, _rng: random.Random) -> Item:
        return {**item, "task_description": f"{item['task_description']} Call it {form(item)}, please."}

    return plant


def _name(item: Item) -> str:
    return item["expected"]["name"]


KINDS: dict[str, tuple[int, Plant]] = {
    "the same task, typed otherwise": (20, _near(_retyped)),
    "the same task, with courtesies": (20, _near(_polite)),
    "the same task, words shuffled": (20, _near(_shuffled)),
    "the same task, 1 word of 10 replaced": (20, _near(_replaced(0.1))),
    "the same task, 3 words of 10 replaced": (20, _near(_replaced(0.3))),
    "the same task, 6 words of 10 replaced": (20, _near(_replaced(0.6))),
    "the same answer to another question": (40, _same_gold),
    "the gold name in the task": (15, _naming(_name)),
    "the gold name in the task, in capitals": (15, _naming(lambda item: _name(item).upper())),
    "the gold name in the task, as words": (10, _naming(lambda item: _name(item).replace("-", " "))),
    "the gold name in the task, as an identifier": (10, _naming(lambda i: _name(i).replace("-", "_"))),
    "the gold path in the task": (10, _naming(lambda item: item["expected"]["taxonomy_path"])),
}

HARD = frozenset({"the same task, 6 words of 10 replaced"})
"""Kinds of which likeness of words catches some only, or none."""


@dataclass(frozen=True)
class Caught:
    """Of the leaks of one kind: how many were planted, kept in one part by every split, or reported."""

    planted: int
    together: int
    reported: int
    either: int


def shipped() -> list[Item]:
    return json.loads(Path(shipped_trainset()).read_text(encoding="utf-8"))


def reported_of_clean() -> int:
    """Examples of the shipped set, nothing planted, that lint has an error or a warning about."""
    return len({name for finding in _serious(shipped()) for name in finding.items})


def plant(kind: str, count: int | None = None, *, seed: int = 0) -> Caught:
    """Plant leaks of one kind, all in one copy of the shipped set, each beside an example of its own."""
    most, change = KINDS[kind]
    rng = random.Random(f"{kind}/{seed}")
    items = shipped()
    chosen = rng.sample(items, min(most, count or most))
    copies = [
        {**change(item, rng), "id": f"planted-{number}", "group": f"planted/{number}"}
        for number, item in enumerate(chosen)
    ]
    every = [*items, *copies]
    apart = _apart(every, [(item["id"], copy["id"]) for item, copy in zip(chosen, copies, strict=True)])
    findings = _serious(every)
    reported = {name for finding in findings for name in finding.items} & {copy["id"] for copy in copies}
    together = {copy["id"] for copy in copies} - apart
    if kind.startswith("the gold"):
        # The copy of a whole task is a near-duplicate besides: here only what is said of its own text counts.
        together = set()
        reported = {f.items[0] for f in findings if len(f.items) == 1} & reported
    return Caught(len(copies), len(together), len(reported), len(together | reported))


def _apart(items: list[Item], pairs: list[tuple[str, str]]) -> set[str]:
    """The second of each pair that some split puts into another part than the first."""
    trainset, apart = trainset_of(items), set()
    for seed in SEEDS:
        split = split_trainset(trainset, seed=seed)
        part = {item.id: name for name in ("train", "validation", "test") for item in getattr(split, name)}
        apart |= {copy for original, copy in pairs if part[original] != part[copy]}
    return apart


def _serious(items: list[Item]) -> list:
    return [finding for finding in lint_trainset(trainset_of(items)) if finding.severity != "info"]


def tally(found: list[Caught]) -> Caught:
    total = Counter()
    for one in found:
        total.update(vars(one))
    return Caught(**total)
