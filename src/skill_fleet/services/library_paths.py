"""Paths of the library as clients of the service give them: they never leave it.

A client's path is words between slashes, as `GET /skills` lists them. It is checked as text before any file
is looked at, and again where its folders and links lead; what is said of a path that is refused never tells
what is outside the library.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from skill_fleet.domain.library import Library, find_skill_files
from skill_fleet.domain.skill import SKILL_FILE
from skill_fleet.domain.taxonomy import MAX_DEPTH, MAX_PART
from skill_fleet.foundation.errors import DataError, NotFound, UsageError

_PART = re.compile(rf"(?=.{{1,{MAX_PART}}}\Z)[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
_HINT = "A path is of folders of the library, for example technical_skills/programming/python/async."


def library_path(text: str) -> str:
    """A path of the library, as it was given; it need not be there.

    Stricter than the file system and wider than a taxonomy path: folders of a library that was not made here
    may hold capitals, hyphens and dots, but none is hidden, none climbs, and none needs decoding.

    Raises:
        UsageError: It is no such path; the code is `path`.
    """
    parts = text.split("/")
    if len(parts) <= MAX_DEPTH and all(_PART.fullmatch(part) for part in parts):
        return text
    reason = f"it has more than {MAX_DEPTH} parts" if len(parts) > MAX_DEPTH else _wrong(text, parts)
    raise UsageError(f"The path {text[:80]!r} cannot be used: {reason}.", hint=_HINT, code="path")


def is_library_path(text: str) -> bool:
    """Whether a client could name this path."""
    try:
        library_path(text)
    except UsageError:
        return False
    return True


def skill_at(library: Library, text: str) -> Path:
    """The SKILL.md of the one skill that a path addresses.

    Raises:
        UsageError: It is not a path of the library.
        NotFound: No skill is there.
        DataError: Several are; the message names them.
    """
    folder = library.root.joinpath(*library_path(text).split("/"))
    if _is_inside(library, folder / SKILL_FILE):
        return folder / SKILL_FILE
    found = [file for file in _below(library, folder) if file.parent.parent == folder]
    if len(found) > 1:
        names = ", ".join(file.parent.name for file in found[:10])
        raise DataError(
            f"'{text}' addresses {len(found)} skills: {names}.", hint="Add the name to the path.", code="path"
        )
    if not found:
        raise _absent(text)
    return found[0]


def skills_at(library: Library, paths: Sequence[str]) -> list[Path]:
    """The SKILL.md files at these paths and below them, each once, in the order named.

    Raises:
        UsageError: One is not a path of the library.
        NotFound: There is no skill at or below one.
    """
    found: dict[Path, None] = {}
    for text in paths:
        folder = library.root.joinpath(*library_path(text).split("/"))
        files = dict.fromkeys(_below(library, folder))
        if not files:
            raise _absent(text)
        found |= files
    return list(found)


def path_of(library: Library, file: Path) -> str:
    """What a client calls the skill of this file; folders that no path can name are left as they are."""
    return file.parent.relative_to(library.root).as_posix()


def _below(library: Library, folder: Path) -> Iterator[Path]:
    """The skills at a folder and below it; none where a link on the way leads out of the library."""
    if not folder.is_dir() or not folder.resolve().is_relative_to(library.root.resolve()):
        return
    for file in find_skill_files(folder):
        if is_library_path(path_of(library, file)) and _is_inside(library, file):
            yield file


def _is_inside(library: Library, file: Path) -> bool:
    """Whether it is a file of the library, wherever links lead."""
    if not file.is_file():
        return False
    root, real = library.root.resolve(), file.resolve()
    return real.is_relative_to(root) and is_library_path(real.relative_to(root).as_posix())


def _absent(text: str) -> NotFound:
    return NotFound(f"There is no skill at '{text}' in the library.", hint="See: GET /api/v2/skills.")


def _wrong(text: str, parts: Sequence[str]) -> str:
    """What is wrong with the first bad part, in words."""
    bad = next(part for part in parts if not _PART.fullmatch(part))
    if not text:
        return "it is empty"
    if text.startswith("/"):
        return "it is absolute"
    if bad in {".", ".."}:
        return f"it holds '{bad}'"
    if not bad:
        return "it has an empty part"
    if len(bad) > MAX_PART:
        return f"a part has more than {MAX_PART} characters"
    return f"the part {bad[:40]!r} holds what no folder of the library may"
