"""A training set from skills that exist: from any folder of SKILL.md files.

Each usable skill gives one example. Its task is the wish behind its description
(`skill_fleet.domain.intent`): no word of the body, never the skill's name. The answer expected is where the
skill stands, what it is called, and the sections it has.

What is shown of the library gives no answer away. The taxonomy has every folder that skills stand in and
that is no skill itself, but of the skills only those of the same group, without the one expected;
`existing_skills` lists the same ones. As groups are never divided by a split, nothing of validation or test
shows in the examples of the train part.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_fleet.domain.blemishes import secret_in
from skill_fleet.domain.intent import intent_of
from skill_fleet.domain.leaks import leaks_of
from skill_fleet.domain.library import find_skill_files
from skill_fleet.domain.markdown import sections
from skill_fleet.domain.places import Place, places_of
from skill_fleet.domain.skill import SKILL_FILE, Skill
from skill_fleet.domain.taxonomy import tree_of
from skill_fleet.domain.trainset import Trainset, trainset_of
from skill_fleet.foundation.errors import DataError, NotFound, StorageError, UnknownName

GROUPINGS = ("plugin", "top")

_MOST_SECTIONS = 6
_LONGEST_TITLE = 80
_NUMBERING = re.compile(
    r"^(?:(?:step|phase|part|section|chapter|stage)\s+)?(?:\d+(?:\.\d+)*|[IVX]+(?=[.):]))\s*[.):–—-]*\s*",
    re.IGNORECASE,
)
_EMOJI_JOINTS = "\ufe0f\u200d\u20e3"
_LICENCES = (
    ("apache license", "Apache-2.0"),
    ("mit license", "MIT"),
    ("permission is hereby granted, free", "MIT"),
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A skill that gave no example.

    Args:
        source: The file, relative to the folder that was read.
        reason: One clause, to follow "because".
    """

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """What one skill gives to an example."""

    source: str
    name: str
    task: str
    sections: list[str]
    licence: str
    place: Place


def derive_trainset(
    library_root: Path, *, group_by: str = "plugin", seed: int = 0
) -> tuple[Trainset, tuple[Skipped, ...]]:
    """Make a training set from every SKILL.md below a folder.

    Ids are the skills' folders and stay the same from run to run; `source` and, where it is known,
    `licence` say where an example is from.

    Args:
        library_root: A skill library, a repository, or a folder of repositories; `places` tells which.
        group_by: What makes a group. With `plugin` it is the plugin, folder or topic, the repository's name
            before it, so that `split_trainset(…, holdout_groups=[repository])` makes that one the test; with
            `top` it is the repository, or the first folder of a library.
        seed: Draws the voices in which tasks are spoken.

    Returns:
        The set in the order of the files' paths, and what was left out and why.

    Raises:
        NotFound: There is no such folder.
        StorageError: A folder below it cannot be listed.
        UnknownName: There is no such grouping.
        DataError: Nothing below the folder is usable.
    """
    if group_by not in GROUPINGS:
        raise UnknownName("grouping", group_by, GROUPINGS)
    files = sorted(find_skill_files(library_root), key=lambda file: file.relative_to(library_root).parts)
    places = places_of([file.relative_to(library_root).parent.parts for file in files], library_root.name)
    licences = _Licences(library_root)
    drafts: list[_Draft] = []
    skipped: list[Skipped] = []
    for file, place in zip(files, places, strict=True):
        source = file.relative_to(library_root).as_posix()
        try:
            drafts.append(_draft(file, source, place, licences, seed))
        except _Unusable as error:
            skipped.append(Skipped(source, str(error)))
    kept = []
    for value in _values(drafts, group_by):
        leak = _leak(value)
        if leak:
            skipped.append(Skipped(value["source"], f"its example would give the answer away ({leak})"))
        else:
            kept.append(value)
    if not kept:
        reasons = f": {skipped[0].source}, because {skipped[0].reason}" if skipped else ""
        raise DataError(f"No example can be made of the {len(files)} skills below {library_root}{reasons}.")
    return trainset_of(kept, source=str(library_root)), tuple(sorted(skipped, key=lambda one: one.source))


class _Unusable(Exception):
    """A skill that gives no example; the text is the reason."""


def _draft(file: Path, source: str, place: Place, licences: "_Licences", seed: int) -> _Draft:
    name, description, skill = _read(file)
    if not place.taxonomy_path:
        raise _Unusable("its folders give no taxonomy path")
    titles = _titles(skill.body)
    if not titles:
        raise _Unusable("it has no sections (headings of level 2)")
    task = intent_of(description, name, draw=f"{seed}/{source}")
    if task is None:
        raise _Unusable("its description says too little without its name")
    if secret_in(task):
        raise _Unusable(f"its description holds what looks like {secret_in(task)}")
    licence = _text(skill.fields.get("license")) or licences.near(file)
    return _Draft(source, name, task, titles, licence, place)


def _read(file: Path) -> tuple[str, str, Skill]:
    """Name, description and the whole of a skill that has both."""
    try:
        skill = Skill.read(file)
        skill.source.decode("utf-8")
    except (NotFound, StorageError) as error:
        raise _Unusable(f"it cannot be read ({error.message.rstrip('.')})") from error
    except UnicodeDecodeError as error:
        raise _Unusable(f"it is not UTF-8 text (byte {error.start})") from None
    name, description = _text(skill.name), _text(skill.description)
    if not name or not description:
        raise _Unusable(f"it has no {'description' if name else 'name'}")
    return name, description, skill


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _titles(body: str) -> list[str]:
    """The headings of level 2, at most six, without numbers and pictures before them."""
    titles = (_title(section.title) for section in sections(body) if section.level == 2)
    return list(dict.fromkeys(title for title in titles if title))[:_MOST_SECTIONS]


def _title(title: str) -> str:
    plain = "".join(
        char for char in title if unicodedata.category(char) != "So" and char not in _EMOJI_JOINTS
    )
    plain = _NUMBERING.sub("", " ".join(plain.split())).strip(" :.–—-")
    return plain if len(plain) <= _LONGEST_TITLE and re.search(r"[^\W\d_]", plain) else ""


def _values(drafts: Sequence[_Draft], group_by: str) -> list[dict[str, Any]]:
    """The examples as plain data, each with what it may see of the library."""
    skills = {draft.place.taxonomy_path for draft in drafts}
    # A skill may stand in a folder that others stand below: shown as a folder, it would be an answer.
    categories = {path.rpartition("/")[0] for path in skills} - skills - {""}
    groups: defaultdict[str, list[_Draft]] = defaultdict(list)
    for draft in drafts:
        groups[draft.place.group].append(draft)
    return [_value(draft, groups[draft.place.group], categories, group_by) for draft in drafts]


def _value(
    draft: _Draft, group: Sequence[_Draft], categories: Iterable[str], group_by: str
) -> dict[str, Any]:
    gold = draft.place.taxonomy_path
    siblings = sorted(
        {
            other.place.taxonomy_path
            for other in group
            if other.place.taxonomy_path != gold and other.name != draft.name
        }
    )
    shown = [path for path in (*categories, *siblings) if path != gold]
    licence = {"licence": draft.licence} if draft.licence else {}
    return {
        "id": draft.source.removesuffix(SKILL_FILE).rstrip("/") or draft.name,
        "group": draft.place.group if group_by == "plugin" else draft.place.top,
        "task_description": draft.task,
        "user_context": {},
        "taxonomy_structure": tree_of(shown),
        "existing_skills": siblings,
        "expected": {"taxonomy_path": gold, "name": draft.name, "sections": draft.sections},
        "source": draft.source,
        **licence,
    }


def _leak(value: Mapping[str, Any]) -> str:
    """The code of the first leak of an example, or an empty string."""
    item = trainset_of([value]).items[0]
    return next((leak.code for leak in leaks_of(item)), "")


class _Licences:
    """Licence files above skills, each folder looked into once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, str] = {}

    def near(self, file: Path) -> str:
        """The licence of the nearest folder that has one, up to the root; empty when it is not recognised."""
        for folder in file.parents:
            if self._in(folder) or folder == self._root:
                return self._in(folder)
        return ""

    def _in(self, folder: Path) -> str:
        if folder not in self._known:
            files = sorted(folder.glob("LICEN[CS]E*"))
            text = files[0].read_bytes()[:2_000].decode("utf-8", "replace").lower() if files else ""
            self._known[folder] = next((name for words, name in _LICENCES if words in text), "")
        return self._known[folder]
