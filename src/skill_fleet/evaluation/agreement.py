"""How far a skill is where, named and divided as the gold example expects."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from skill_fleet.domain import markdown, words
from skill_fleet.domain.skill import Skill
from skill_fleet.evaluation.expected import NONE, Conventions, Expected, expected_of, folders
from skill_fleet.evaluation.reading import sample
from skill_fleet.evaluation.scale import Part
from skill_fleet.evaluation.score import Score

WEIGHTS = {"path": 0.10, "name": 0.10, "sections": 0.35}

_LEAF_SHARE = 0.4
_ORDER_SHARE = 0.1
_NAME_ORDER_SHARE = 0.15
_SPARE_SECTIONS = 4
_FEWEST_WORDS = 8
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def agreement(
    gold: Any, *, taxonomy_path: str, name: str, content: str, conventions: Conventions = NONE
) -> Score:
    """Path, name and sections of a prediction against a gold example.

    Args:
        gold: A mapping or `dspy.Example`; see `expected_of`. What it does not expect is no part of the score.
        taxonomy_path: The predicted path.
        name: The predicted name.
        content: The predicted SKILL.md.
        conventions: As in `expected_of`; they change words, no score.

    Returns:
        The weighted mean of the parts `path`, `name` and `sections`; 1 where nothing is expected.
    """
    expected = expected_of(gold, conventions)
    parts: dict[str, Part] = {}
    if expected.path is not None:
        parts["path"] = path_agreement(expected, taxonomy_path)
    if expected.name is not None:
        parts["name"] = name_agreement(expected.name, name)
    if expected.sections is not None:
        parts["sections"] = section_agreement(expected, content)
    total = sum(WEIGHTS[key] for key in parts)
    by_part = {key: " ".join(part.notes) for key, part in parts.items() if part.notes}
    return Score(
        value=sum(WEIGHTS[key] * part.value for key, part in parts.items()) / total if total else 1.0,
        parts={key: part.value for key, part in parts.items()},
        feedback=" ".join(by_part[key] for key in sorted(by_part, key=lambda k: -WEIGHTS[k])),
        by_part=by_part,
    )


def path_agreement(expected: Expected, path: str) -> Part:
    """0.6 for the share of folders in common from the top, 0.4 for the words of the last ones."""
    wanted, given = folders(expected.path or ""), folders(path)
    if wanted == given:
        return Part(1.0)
    common = next(
        (at for at, pair in enumerate(zip(wanted, given, strict=False)) if pair[0] != pair[1]), None
    )
    shared = min(len(wanted), len(given)) if common is None else common
    leaf = _overlap(words.terms(wanted[-1]), words.terms(given[-1])) if given else 0.0
    value = (1.0 - _LEAF_SHARE) * shared / max(len(wanted), len(given)) + _LEAF_SHARE * leaf
    return Part(value, (_path_note(expected, wanted, shared),))


def _path_note(expected: Expected, wanted: list[str], shared: int) -> str:
    if shared >= len(wanted) - 1:
        topic = " ".join(words.tokens(wanted[-1]))
        levels = _number(len(wanted))
        return f"Name the last folder after the topic of the task ({topic} here), {levels} levels deep."
    return f"Put tasks about {' or '.join(expected.topic)} under {'/'.join(wanted[: max(2, shared + 1)])}."


def name_agreement(wanted: str, name: str) -> Part:
    """F1 of the stems of both names, a little less when they stand in another order."""
    left, right = words.terms(wanted) or words.tokens(wanted), words.terms(name) or words.tokens(name)
    if left == right:
        return Part(1.0)
    common = sum((Counter(left) & Counter(right)).values())
    order = _common_subsequence(left, right) / common if common else 0.0
    value = _overlap(left, right) * (1.0 - _NAME_ORDER_SHARE + _NAME_ORDER_SHARE * order)
    notes = []
    if left[:1] != right[:1]:
        notes.append(f"Begin the name with the object of the task and put the action last, as in {wanted}.")
    if len(left) != len(right):
        notes.append(f"Use {_number(len(left))} words in the name, as in {wanted}.")
    if not notes:
        notes.append(f"Take the words of the name from the task, as in {wanted}.")
    return Part(value, tuple(notes))


def section_agreement(expected: Expected, content: str) -> Part:
    """The share of expected titles among the level-2 sections that hold something.

    Half counts a title that has the expected one inside (`Common Pitfalls` for `Pitfalls`). Order is worth a
    tenth. Others may stand between, as many as are expected and at least four; more of them lower the score,
    or all titles there are would be the best answer to everything.
    """
    titles, _ = _level_two(content)
    hits = _hits(expected, titles)
    keys = [_key(title) for title in titles]
    wanted = [_key(title) for title in hits]
    found = [key for key in wanted if key in keys]
    order = _common_subsequence(found, keys) / len(found) if found else 1.0
    spare = max(_SPARE_SECTIONS, len(wanted))
    crowd = spare / max(spare, len(set(keys)) - len(found))
    value = sum(hits.values()) / len(hits) * (1.0 - _ORDER_SHARE + _ORDER_SHARE * order) * crowd
    notes = [written_note(expected, (), content)]
    if order < 1.0:
        notes.append(
            _sentence(f"{expected.rules[0][0]}keep the sections in the order {_quoted(list(hits))}.")
        )
    if crowd < 1.0:
        notes.append(f"Write no more than {_number(len(wanted) + spare)} sections.")
    return Part(value, tuple(note for note in notes if note))


def _hits(expected: Expected, titles: Sequence[str]) -> dict[str, float]:
    """Expected title -> 1 where it is there, 0.5 where another holds it, else 0."""
    keys = [_key(title) for title in titles]
    return {
        title: 1.0 if _key(title) in keys else 0.5 * any(words.contains_run(key, _key(title)) for key in keys)
        for title in expected.sections or ()
    }


def written_note(expected: Expected, planned: Sequence[str], content: str) -> str:
    """What writing should have done about sections, or an empty text.

    Args:
        expected: The gold example.
        planned: The titles that were to be written: one that was not is no fault of writing. Empty: unknown.
        content: The SKILL.md.
    """
    full, bare = _level_two(content)
    asked = {_key(title) for title in planned}
    missing = [title for title, hit in _hits(expected, full).items() if hit < 1.0]
    missing = [title for title in missing if not asked or _key(title) in asked]
    lacking = ((lead, [title for title in titles if title in missing]) for lead, titles in expected.rules)
    notes = [_sentence(_include(lead, titles)) for lead, titles in lacking if titles]
    empty = [title for title in missing if _key(title) in map(_key, bare)]
    if empty:
        notes.append(f"Write at least two sentences in every section; {sample(empty)} holds next to nothing.")
    return " ".join(notes)


def plan_note(expected: Expected, planned: Sequence[str]) -> str:
    """What planning should have done differently, or an empty text."""
    keys = {_key(title) for title in planned}
    lacking = (rule for rule in expected.rules if any(_key(title) not in keys for title in rule[1]))
    notes = (f"{lead}plan the {_number_of(titles)} {_quoted(titles)}." for lead, titles in lacking)
    return " ".join(map(_sentence, notes))


def _number_of(titles: Sequence[str]) -> str:
    return "section" if len(titles) == 1 else "sections"


def _level_two(content: str) -> tuple[list[str], list[str]]:
    """Titles of the level-2 sections with text (deeper ones included) and of those without, in order."""
    held: list[tuple[str, int]] = []
    for section in markdown.sections(Skill.parse(content).body):
        size = len(section.text.split())
        if section.level == 2:
            held.append((section.title, size))
        elif section.level > 2 and held:
            held[-1] = (held[-1][0], held[-1][1] + size)
    full = [title for title, size in held if size >= _FEWEST_WORDS]
    return full, [title for title, size in held if size < _FEWEST_WORDS]


def _key(title: str) -> tuple[str, ...]:
    """A title without numbering, marks, case and endings."""
    return tuple(map(words.stem, words.tokens(re.sub(r"^[\W\d_]+", "", title))))


def _include(lead: str, missing: Sequence[str]) -> str:
    marked = [f"'## {title}'" for title in missing]
    if len(marked) == 1:
        return f"{lead}include a {marked[0]} section."
    return f"{lead}include the sections {', '.join(marked[:-1])} and {marked[-1]}."


def _quoted(titles: Sequence[str]) -> str:
    return ", ".join(f"'{title}'" for title in titles)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _overlap(left: Sequence[str], right: Sequence[str]) -> float:
    """F1 of two bags of stems."""
    common = sum((Counter(left) & Counter(right)).values())
    return 2.0 * common / (len(left) + len(right)) if common else 0.0


def _common_subsequence(left: Sequence[Any], right: Sequence[Any]) -> int:
    row = [0] * (len(right) + 1)
    for one in left:
        before = row
        row = [0]
        for at, other in enumerate(right):
            row.append(before[at] + 1 if one == other else max(row[at], before[at + 1]))
    return row[-1]
