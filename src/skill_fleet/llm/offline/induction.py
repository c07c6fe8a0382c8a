"""Lessons drawn from records: what the examples in a prompt have in common, said as sentences.

Whatever is concluded stands in the records: section titles by the beginning of a path, the size of names,
the depth of paths, the words that go with a label. The sentences are in the form that `reading` reads.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skill_fleet.llm.offline import lexicon, text

Record = Mapping[str, Any]

_PATHLIKE = re.compile(r"^[a-z][\w-]*(?:/[\w-]+)+$")
_SLUG = re.compile(r"^[a-z0-9]+(?:-[a-z0-9]+)+$")
_EXAMPLE = re.compile(r"Example\((\{.*?\})\)\s*\(input_keys=", re.DOTALL)
_PREFIXED = re.compile(r"^([A-Z][A-Za-z]*(?: [A-Za-z]+){0,3}):[ \n]", re.MULTILINE)
_PLAIN = re.compile(r"^([a-z_]\w{0,40}): ", re.MULTILINE)
_LABEL_CHARS = 40
_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Lesson:
    """A sentence and how many records support it."""

    sentence: str
    support: int


def records_in(said: str) -> list[Record]:
    """The records a prompt shows: DSPy examples, JSON, or `Name: value` lines."""
    stripped = said.strip()
    loaded = (
        text.parsed(stripped) if stripped[:1] in {"[", "{"} and not stripped.startswith("[Example(") else None
    )
    if isinstance(loaded, dict):
        return [loaded]
    if isinstance(loaded, list) and all(isinstance(item, dict) for item in loaded):
        return list(loaded)
    out: list[Record] = []
    for literal in _EXAMPLE.findall(said):
        value = text.python_literal(literal)
        if isinstance(value, dict):
            out.append(value)
    return out or _from_lines(said)


def _from_lines(said: str) -> list[Record]:
    pattern = _PREFIXED if len(_PREFIXED.findall(said)) >= len(_PLAIN.findall(said)) else _PLAIN
    pieces = pattern.split(said)
    out: list[Record] = []
    current: dict[str, Any] = {}
    for raw, value in zip(pieces[1::2], pieces[2::2], strict=False):
        name = raw.lower().replace(" ", "_")
        if name in current:
            out.append(current)
            current = {}
        current[name] = value.partition("\n=========")[0].strip()
    return [*out, current] if current else out


def lessons(records: Sequence[Record]) -> list[Lesson]:
    """What the records teach, best supported first within each subject."""
    flat = [_flat(record) for record in records]
    return [*_about_sections(flat), *_about_paths(flat), *_about_names(flat), *_about_labels(flat)]


def _flat(record: Record) -> dict[str, Any]:
    """The record with lists parsed and `expected_`, `gold_` taken off the names."""
    out: dict[str, Any] = {}
    for key, value in record.items():
        name = re.sub(r"^(?:expected|gold|correct|target)_", "", str(key))
        if isinstance(value, dict) and name in {
            "expected",
            "gold",
            "outputs",
            "inputs",
            "Inputs",
            "Generated Outputs",
        }:
            out.update(_flat(value))
        elif isinstance(value, str) and value[:1] in "[{" and value:
            found = text.parsed(value)
            out[name] = value if found is None else found
        else:
            out[name] = value
    return out


def path_in(record: Record) -> tuple[str, ...]:
    """The taxonomy path a record states, or nothing."""
    for name, value in _flat(record).items():
        if "path" in name and isinstance(value, str) and _PATHLIKE.match(value.strip()):
            return tuple(value.strip().split("/"))
    return ()


def _titles_in(record: Record) -> tuple[str, ...]:
    for name, value in record.items():
        if re.search(r"sections|outline|headings|plan$", name):
            listed = value if isinstance(value, list) else text.as_list(str(value))
            titles = tuple(str(title).lstrip("# ") for title in listed)
            if titles and all(title[:1].isupper() and len(title) < 50 for title in titles):
                return titles
    return ()


def _about_sections(records: Sequence[Record]) -> list[Lesson]:
    groups: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for record in records:
        titles, path = _titles_in(record), path_in(record)
        if titles:
            groups["/".join(path[:2]) if path else ""].append(titles)
    out = []
    for prefix, several in sorted(groups.items(), key=lambda item: -len(item[1])):
        common = _common(several)
        if len(common) < 2:
            continue
        where = f"For {prefix} tasks, plan" if prefix and len(groups) > 1 else "Plan"
        out.append(Lesson(f"{where} the sections {text.in_words(common)}.", len(several)))
    return out


def _common(several: Sequence[tuple[str, ...]]) -> list[str]:
    counts = Counter(title for titles in several for title in dict.fromkeys(titles))
    order = {title: index for titles in reversed(several) for index, title in enumerate(titles)}
    kept = [title for title, count in counts.items() if count >= _SHARE * len(several)]
    return sorted(kept, key=lambda title: (order[title], title))[:7]


def _about_paths(records: Sequence[Record]) -> list[Lesson]:
    paths = [path for record in records if (path := path_in(record))]
    if len(paths) < 2:
        return []
    depths = sorted(len(path) for path in paths)
    low, high = depths[len(depths) // 5], depths[-1 - len(depths) // 5]
    size = str(low) if low == high else f"{low} to {high}"
    return [Lesson(f"Use a path of {size} parts.", len(paths)), *_homes(records)]


def _homes(records: Sequence[Record]) -> list[Lesson]:
    """Words that several records of one branch share and no other branch has: where such tasks belong."""
    words: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        path = path_in(record)
        said = next(
            (value for name, value in record.items() if isinstance(value, str) and "path" not in name), ""
        )
        if path and said:
            words["/".join(path[:2])].update(word.lower() for word in text.content_words(said))
    out = []
    for branch, counts in words.items():
        own = [
            word
            for word, count in counts.most_common(12)
            if count >= 2 and not any(word in other for name, other in words.items() if name != branch)
        ]
        if own and len(words) > 1:
            out.append(Lesson(f"Put {text.in_words(own[:3], 'or')} tasks under {branch}.", counts[own[0]]))
    return sorted(out, key=lambda lesson: -lesson.support)


def _about_names(records: Sequence[Record]) -> list[Lesson]:
    named = [
        (str(value), record)
        for record in records
        for name, value in record.items()
        if re.search(r"(?:^|_)name$", name) and isinstance(value, str) and _SLUG.match(value)
    ]
    if len(named) < 2:
        return []
    sizes = sorted(len(name.split("-")) for name, _ in named)
    low, high = sizes[len(sizes) // 5], sizes[-1 - len(sizes) // 5]
    size = f"{low} words" if low == high else f"{low} to {high} words"
    out = [Lesson(f"Use {size} in the name.", len(named))]
    technical = sum(lexicon.is_technology(name.split("-")[0]) for name, _ in named)
    if technical >= _SHARE * len(named):
        out.append(Lesson("Start the name with the technology.", technical))
    return out


def _about_labels(records: Sequence[Record]) -> list[Lesson]:
    """Fields with a few short values that repeat, and the input words that go with each value."""
    out: list[Lesson] = []
    names = list(records[0]) if records else []
    for name in names[1:]:
        values = [record.get(name) for record in records]
        labels = [
            value
            for value in values
            if isinstance(value, str) and 0 < len(value) <= _LABEL_CHARS and "/" not in value
        ]
        distinct = list(dict.fromkeys(labels))
        if (
            len(labels) < 3
            or len(distinct) < 2
            or len(distinct) > 0.7 * len(labels)
            or _SLUG.match(labels[0])
        ):
            continue
        subject = names[0].replace("_", " ")
        texts = {
            label: [str(record.get(names[0], "")) for record in records if record.get(name) == label]
            for label in distinct
        }
        out += associations(subject, texts)
    return out


def associations(subject: str, texts: Mapping[str, Sequence[str]]) -> list[Lesson]:
    """`If the ticket mentions 'refund', answer billing.` for the words that only one label's texts have."""
    counts = {
        label: Counter(w.lower() for said in several for w in text.content_words(said))
        for label, several in texts.items()
    }
    out = []
    for label, own in counts.items():
        only = [
            (word, count)
            for word, count in own.items()
            if len(word) > 3 and not any(word in other for name, other in counts.items() if name != label)
        ]
        best = sorted(only, key=lambda item: (-item[1], -len(item[0]), item[0]))[:4]
        if best:
            quoted = text.in_words([f"'{word}'" for word, _ in best], "or")
            out.append(
                Lesson(
                    f"If the {subject} mentions {quoted}, answer {label}.", sum(count for _, count in best)
                )
            )
    return out
