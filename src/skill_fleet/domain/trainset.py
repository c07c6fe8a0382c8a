"""Training sets: what a program is given, and what a good answer would be.

A file is a JSON list or, named `.jsonl`, one object a line. Two kinds of data are read.

*Skill data*: items with a `task_description`. Fields after reading: the four inputs of `SKILL_INPUTS`
(`user_context` an object or plain text, `taxonomy_structure` an object, `existing_skills` a list of texts;
the last three may be written as JSON values or as JSON strings and default to empty), then
`expected_taxonomy_path`, `expected_name`, `expected_sections` as far as they are known, further
`expected_<key>`, and any other key as given. `expected` may be nested or written flat.

*Other data*: items for a program of the user's own. Fields are the keys as given.

In both, `id` and `group` are taken out of the fields. A missing id is `item-0001` and so on, by position. A
missing group is the folder above the expected taxonomy path; items without one get a group each, which
near-duplicates share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from skill_fleet.domain.jsontext import checked, decode, kind, texts_in
from skill_fleet.domain.similarity import clusters, near_duplicates
from skill_fleet.domain.skillfields import EXPECTED, SKILL_INPUTS, skill_fields
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_text

__all__ = [
    "IDENTITY",
    "PROVENANCE",
    "SKILL_INPUTS",
    "TrainingItem",
    "Trainset",
    "blank_fields",
    "dump_trainset",
    "load_trainset",
    "trainset_from",
    "trainset_of",
]

IDENTITY = "_fleet_identity"  # attribute of an example for DSPy: (id, group) of its item
PROVENANCE = ("source", "licence", "license")

_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class TrainingItem:
    """One example. Its fields are JSON values and are not to be changed in place.

    Args:
        id: Unique within the set.
        group: What must stay together when the set is split.
        fields: By name; see the module for skill data.
    """

    id: str
    group: str
    fields: Mapping[str, Any]

    @property
    def is_skill(self) -> bool:
        """Whether this is skill data."""
        return "task_description" in self.fields

    @property
    def expected(self) -> dict[str, Any]:
        """What a good answer would be, by name without the prefix `expected_`."""
        return {
            name.removeprefix(EXPECTED): value
            for name, value in self.fields.items()
            if name.startswith(EXPECTED)
        }

    @cached_property
    def content_digest(self) -> str:
        """sha256 of the fields without where they come from: equal for equal examples of any id and group."""
        return digest({name: value for name, value in self.fields.items() if name not in PROVENANCE})

    @cached_property
    def text(self) -> str:
        """The words by which near-duplicates are told: the task, or every text of other data."""
        if self.is_skill:
            return str(self.fields["task_description"])
        known = {name: value for name, value in self.fields.items() if name not in PROVENANCE}
        return "\n".join(text for _, text in texts_in(known))


@dataclass(frozen=True)
class Trainset:
    """Examples in the order given.

    Args:
        items: At least one; ids are unique.
        source: Where they come from, for messages; no part of what makes two sets equal.
        digest: sha256 of ids, groups and fields in their order. Formatting of the file, the order of keys
            and JSON strings instead of JSON values make no difference; the order of the items does.
    """

    items: tuple[TrainingItem, ...]
    source: str = field(compare=False)
    digest: str

    @override
    def __hash__(self) -> int:
        """By the digest; fields need not be hashable."""
        return hash(self.digest)

    @property
    def is_skill_data(self) -> bool:
        """Whether the items are skill data; a set is so throughout or not at all."""
        return self.items[0].is_skill


def trainset_from(items: Sequence[TrainingItem], *, source: str) -> Trainset:
    """A set of items that exist already, for example a part of another set."""
    return Trainset(
        items=tuple(items),
        source=source,
        digest=digest([[item.id, item.group, dict(item.fields)] for item in items]),
    )


def load_trainset(path: Path) -> Trainset:
    """Read a training set from a `.json` file (a list) or a `.jsonl` file (one object a line).

    Raises:
        NotFound: There is no such file.
        StorageError: It cannot be read.
        DataError: It is not a usable training set; the message names the line or the item.
    """
    what = f"The training set {path}"
    text = read_text(path, what="training set").removeprefix("\ufeff")
    if not text.strip():
        raise DataError(f"{what} is empty.", hint="Write a JSON list of objects into it.")
    if path.suffix.lower() in _LINES:
        numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        places = [f"{what}, line {number}" for number, _ in numbered]
        values = [decode(line, place) for (_, line), place in zip(numbered, places, strict=True)]
        return _built(values, places, source=str(path))
    values = decode(text, what)
    if not isinstance(values, list):
        raise DataError(f"{what} holds {kind(values)}, not a list.", hint="Put the items between [ and ].")
    if not values:
        raise DataError(f"{what} holds no item.")
    return _built(values, _places(what, len(values)), source=str(path))


def trainset_of(values: Sequence[Mapping[str, Any]], *, source: str = "memory") -> Trainset:
    """A training set from plain dictionaries, as Python and REST give them.

    Raises:
        DataError: It is not a usable training set; the message names the item.
    """
    what = f"The training set ({source})"
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        raise DataError(f"{what} is {kind(values)}, not a list of items.")
    if not values:
        raise DataError(f"{what} holds no item.")
    return _built(values, _places(what, len(values)), source=source)


def dump_trainset(trainset: Trainset) -> list[dict[str, Any]]:
    """The items as JSON values in the shape of a training set file; reading them gives the same set again."""
    return [_dumped(item) for item in trainset.items]


def blank_fields(items: Sequence[TrainingItem]) -> dict[str, tuple[str, ...]]:
    """Ids of examples in which a field is null or blank, by field; none of skill data, where it may be."""
    found: dict[str, list[str]] = {}
    for item in items:
        for name, value in item.fields.items():
            if not item.is_skill and (value is None or (isinstance(value, str) and not value.strip())):
                found.setdefault(name, []).append(item.id)
    return {name: tuple(ids) for name, ids in found.items()}


def _dumped(item: TrainingItem) -> dict[str, Any]:
    head: dict[str, Any] = {"id": item.id, "group": item.group}
    if not item.is_skill:
        return head | dict(item.fields)
    plain = {name: value for name, value in item.fields.items() if not name.startswith(EXPECTED)}
    return head | plain | ({"expected": item.expected} if item.expected else {})


def _places(what: str, count: int) -> list[str]:
    return [f"{what}, item {number}" for number in range(1, count + 1)]


def _built(values: Sequence[Any], places: Sequence[str], *, source: str) -> Trainset:
    raw = [_object(value, place) for value, place in zip(values, places, strict=True)]
    skills = any(map(_looks_like_skill, raw))
    seen: dict[str, str] = {}
    ids, groups, fields = [], [], []
    for number, (value, place) in enumerate(zip(raw, places, strict=True), 1):
        name = _label(value.pop("id", None), f"{place}: id") or f"item-{number:04d}"
        if name in seen:
            raise DataError(
                f"{place} has the id '{name}', which {seen[name]} has too.",
                hint="Give every item its own id.",
            )
        seen[name] = place.rpartition(", ")[2]
        ids.append(name)
        groups.append(_label(value.pop("group", None), f"{place}: group"))
        fields.append(skill_fields(value, place) if skills else value)
    return trainset_from(_with_groups(ids, groups, fields), source=source)


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{place} is {kind(value)}, not an object.", hint="Every item is a JSON object.")
    found: dict[str, Any] = checked(value, place)
    if not found.keys() - {"id", "group"}:
        raise DataError(f"{place} has no fields.")
    return found


def _looks_like_skill(value: Mapping[str, Any]) -> bool:
    expected = value.get("expected")
    return (
        "task_description" in value
        or "expected_taxonomy_path" in value
        or (isinstance(expected, Mapping) and "taxonomy_path" in expected)
    )


def _label(value: Any, place: str) -> str:
    """An id or a group as text; empty where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{place} is {kind(value)}, not text.")
    label = str(value).strip()
    if not label:
        raise DataError(f"{place} is blank.", hint="Leave it out, or fill it in.")
    return label


def _with_groups(ids: list[str], groups: list[str], fields: list[dict[str, Any]]) -> list[TrainingItem]:
    """The items, every missing group filled in."""
    paths = [str(values.get("expected_taxonomy_path", "")) for values in fields]
    named = [group or path.rpartition("/")[0] or path for group, path in zip(groups, paths, strict=True)]
    items = [TrainingItem(*parts) for parts in zip(ids, named, fields, strict=True)]
    without = [item for item in items if not item.group]
    pairs = near_duplicates([item.text for item in without])
    first = clusters(len(without), [(left, right) for left, right, _ in pairs])
    own = {item.id: without[index].id for item, index in zip(without, first, strict=True)}
    return [TrainingItem(item.id, item.group or own[item.id], item.fields) for item in items]
