"""Where skills stand: the group, the taxonomy path and the repository that a folder tree gives them.

Three kinds of tree are told apart by their folders:

* a *library*: folders are the taxonomy (`technical_skills/programming/python/async/python-async-await`);
* a *repository*: skills stand below folders named `skills`, by plugin (`plugins/X/skills/name`), by folder
  (`skills/X/name`) or all side by side (`skills/name`);
* a *collection*: a folder of repositories.

Skills that stand side by side are grouped by topic: the word that most of their names share, then the next,
until no two names share one. Very general words, and words that more than a quarter of the names share,
make no topic.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skill_fleet.domain.taxonomy import MAX_DEPTH, MAX_PART

Parts = tuple[str, ...]

_CONTAINERS = frozenset(("skills", "plugins", "packages", "src", "agents", "claude", "codex", "github"))
_NO_WORD = re.compile(r"[^a-z0-9]+")
_LARGEST_TOPIC = 0.25
_FEW = 8
_GENERAL_WORDS = frozenset(
    """
    a add agent agents and app apps automation best build builder code create creator custom design
    development dev doc docs engineering expert file files for from generate generation generator guide
    helper in list management manager master migration of on patterns plan practices project review reviewer
    server set setup skill skills strategies system template templates test testing tests the to tool tools
    update use with workflow workflows write writer writing
    """.split()
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one skill stands.

    Args:
        repository: The repository's folder name; empty in a library.
        topic: What stands together: plugin, folder or shared word; in a library the folders above the skill.
        taxonomy_path: Parts cleaned to `lower_case_with_underscores`; empty when they cannot be.
    """

    repository: str
    topic: str
    taxonomy_path: str

    @property
    def group(self) -> str:
        """Repository and topic."""
        return f"{self.repository}/{self.topic}" if self.repository else self.topic

    @property
    def top(self) -> str:
        """The repository, or the first folder of a library."""
        return self.repository or self.taxonomy_path.partition("/")[0]


def places_of(folders: Sequence[Parts], root: str) -> list[Place]:
    """The place of every skill folder.

    Args:
        folders: The skills' folders, as parts relative to the root; an empty one is the root itself.
        root: The root's own name, the repository's name when the tree is one repository.
    """
    if all(parts[:1] == ("skills",) and not _CONTAINERS & set(parts[1:-1]) for parts in folders):
        folders = [parts[1:] for parts in folders]
    if not any(_is_container(part) for parts in folders for part in parts[:-1]):
        return _in_library([parts or (root,) for parts in folders])
    single = any(_is_container(parts[0]) for parts in folders if parts)
    split = [(root, parts) if single else (parts[0], parts[1:]) for parts in folders]
    trails = [tuple(part for part in parts[:-1] if not _is_container(part)) for _, parts in split]
    flat: dict[str, list[str]] = {}
    for (repository, parts), trail in zip(split, trails, strict=True):
        if not trail:
            flat.setdefault(repository, []).append("".join(parts[-1:]))
    topics = {repository: topics_of(names) for repository, names in flat.items()}
    places = []
    for (repository, parts), trail in zip(split, trails, strict=True):
        name = "".join(parts[-1:]) or repository
        topic = trail[0] if trail else topics[repository].get(name, "")
        path = _path((*trail, name) if trail else (topic or "general", name))
        places.append(Place(repository, topic.lstrip(".") or name, path))
    return places


def topics_of(names: Iterable[str]) -> dict[str, str]:
    """The topic of each name that shares one with another; names that share none are left out."""
    words = {name: {word for word in _NO_WORD.split(name.lower()) if word} for name in names}
    most = max(_FEW, int(len(words) * _LARGEST_TOPIC))
    found: dict[str, str] = {}
    while True:
        counts = Counter(
            word for name in words.keys() - found.keys() for word in words[name] - _GENERAL_WORDS
        )
        shared = [(-count, word) for word, count in counts.items() if 1 < count <= most]
        if not shared:
            return found
        topic = min(shared)[1]
        found |= {name: topic for name in words.keys() - found.keys() if topic in words[name]}


def _in_library(folders: Sequence[Parts]) -> list[Place]:
    """The folders are the taxonomy, but for a last one that can only be a skill's name."""
    paths = [_path(parts[:-1] if len(parts) > 1 and "-" in parts[-1] else parts) for parts in folders]
    topics = topics_of(parts[-1] for parts in folders)
    return [
        Place("", path.rpartition("/")[0] or topics.get(parts[-1], path), path)
        for path, parts in zip(paths, folders, strict=True)
    ]


def _is_container(part: str) -> bool:
    return part.lstrip(".").lower() in _CONTAINERS


def _path(parts: Iterable[str]) -> str:
    """A taxonomy path; empty when the parts cannot be brought to letters, digits and underscores."""
    cleaned = [_NO_WORD.sub("_", _ascii(part.lower())).strip("_")[:MAX_PART].strip("_") for part in parts]
    return "/".join(cleaned) if all(cleaned) and len(cleaned) <= MAX_DEPTH else ""


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
