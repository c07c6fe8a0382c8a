"""What a gold example expects, and for which tasks each part of it is a rule."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from skill_fleet.domain import words

Conventions = Mapping[str, Sequence[str]]
NONE: Conventions = MappingProxyType({})

_USUAL = 0.8
_COVERED = 0.75
_COVERED_EACH = 0.5


@dataclass(frozen=True)
class Expected:
    """What a gold example expects; None where it does not say.

    Attributes:
        path: Taxonomy path.
        name: Skill name.
        sections: Titles of level-2 sections, in order.
        task: The task's description, or an empty text.
        branch: The folder that tasks of this kind share, or an empty text.
        usual: The titles that are usual below it.
    """

    path: str | None
    name: str | None
    sections: tuple[str, ...] | None
    task: str
    branch: str
    usual: tuple[str, ...]

    @property
    def topic(self) -> list[str]:
        """Up to three words of path or name that the task itself uses; the name's where it uses none."""
        own = set(words.terms(self.task))
        parts = folders(self.path or "")[1:]
        named: dict[str, str] = {}
        for part in (*parts, self.name or ""):
            for word in words.tokens(part):
                named.setdefault(words.stem(word), word)
        inside = [word for stem, word in named.items() if stem in own]
        return (inside or list(named.values()) or ["this"])[:3]

    @property
    def rules(self) -> list[tuple[str, tuple[str, ...]]]:
        """How a sentence about sections begins, and the titles it holds for: what is usual, what is not."""
        titles = self.sections or ()
        usual = tuple(title for title in titles if title in self.usual)
        special = tuple(title for title in titles if title not in self.usual)
        lead = f"for {self.branch} tasks, " if self.branch else ""
        about = f"for tasks about {' or '.join(self.topic)}, "
        return [rule for rule in ((lead, usual), (about, special)) if rule[1]]


def expected_of(gold: Any, conventions: Conventions = NONE) -> Expected:
    """What a gold example expects: `expected_taxonomy_path`, `_name` and `_sections`, flat or nested.

    Args:
        gold: A mapping or `dspy.Example`.
        conventions: See `conventions_of`. Without one for its path, all its sections count as usual for the
            first two folders.
    """
    nested = gold.get("expected")
    inside = nested if isinstance(nested, Mapping) else {}

    def part(key: str) -> Any:
        return gold.get(f"expected_{key}", inside.get(key))

    path, name, listed = part("taxonomy_path"), part("name"), part("sections")
    task = gold.get("task_description")
    titles = listed if isinstance(listed, list | tuple) else ()
    sections = tuple(title for title in titles if isinstance(title, str) and title.strip())
    parts = folders(path) if isinstance(path, str) else []
    known = next((folder for folder in _above(parts) if folder in conventions), None)
    return Expected(
        path=path if parts else None,
        name=name if isinstance(name, str) and name.strip() else None,
        sections=sections or None,
        task=task if isinstance(task, str) else "",
        branch="/".join(parts[:2]) if known is None else known,
        usual=sections if known is None else tuple(conventions[known]),
    )


def conventions_of(examples: Iterable[Any]) -> Conventions:
    """The titles that are usual below a folder, for the highest folders of which that can be said.

    Usual are titles that four of five examples below expect; it can be said of a folder where such titles are
    three quarters of what its examples expect, and half of what each of them does. Feedback then states a
    rule as generally as the examples allow: one for `communication`, not one for each folder below it.
    """
    below: dict[str, list[tuple[str, ...]]] = {}
    for example in examples:
        expected = expected_of(example)
        if expected.sections:
            for folder in _above(folders(expected.path or "")):
                below.setdefault(folder, []).append(expected.sections)
    found: dict[str, tuple[str, ...]] = {}
    for folder in sorted(below, key=lambda folder: (folder.count("/"), folder)):
        usual = _usual(below[folder])
        covered = [len(set(usual) & set(titles)) / len(titles) for titles in below[folder]]
        holds = sum(covered) >= _COVERED * len(covered) and min(covered) >= _COVERED_EACH
        if holds and not any(above in found for above in _above(folder.split("/"))):
            found[folder] = usual
    return found


def folders(path: str) -> list[str]:
    """The parts of a taxonomy path, in lower case."""
    return [part for part in path.strip().strip("/").lower().split("/") if part]


def _above(parts: Sequence[str]) -> list[str]:
    """A folder and those above it, the highest first."""
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _usual(expected: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    counts = Counter(title for titles in expected for title in set(titles))
    places: Counter[str] = Counter()
    for titles in expected:
        for at, title in enumerate(dict.fromkeys(titles)):
            places[title] += at
    kept = [title for title, count in counts.items() if count >= _USUAL * len(expected)]
    return tuple(sorted(kept, key=lambda title: (places[title] / counts[title], title)))
