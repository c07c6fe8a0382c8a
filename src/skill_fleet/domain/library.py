"""A skill library: folders are the taxonomy, a folder with a SKILL.md is a skill.

The specification wants a skill's folder to bear its name, taxonomy paths need not end with it: a path
addresses `<path>/SKILL.md` when its last part is the name, else `<path>/<name>/SKILL.md`.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skill_fleet.domain.frontmatter_rules import NAME
from skill_fleet.domain.skill import SKILL_FILE, Skill
from skill_fleet.domain.taxonomy import Tree, parse_path, tree_of
from skill_fleet.foundation.errors import DataError, NotFound, StorageError
from skill_fleet.foundation.files import create_bytes, write_bytes

IGNORED = frozenset((".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".skill-fleet"))


def find_skill_files(root: Path) -> Iterator[Path]:
    """The SKILL.md files below a folder, sorted, each once.

    Folders in `IGNORED` and folders that are symbolic links are not entered; a SKILL.md that is a link is
    taken when it leads to a file below the root.

    Raises:
        NotFound: The root is not a folder.
        StorageError: A folder below it cannot be listed.
    """
    if not root.is_dir():
        raise NotFound(f"There is no folder {root}.")
    inside = root.resolve()
    for folder, names, files in os.walk(root, onerror=_raise):
        names[:] = sorted(name for name in names if name not in IGNORED)
        file = Path(folder) / SKILL_FILE
        if SKILL_FILE in files and file.is_file() and (not file.is_symlink() or _is_below(file, inside)):
            yield file


def _raise(error: OSError) -> None:
    raise StorageError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error


def _is_below(path: Path, inside: Path) -> bool:
    return path.resolve().is_relative_to(inside)


@dataclass(frozen=True)
class Library:
    """The skills below one folder.

    Args:
        root: The folder; it need not exist until something is written.
    """

    root: Path

    def __iter__(self) -> Iterator[Skill]:
        """The skills in the order of their paths; an empty library for a root that does not exist.

        Raises:
            StorageError: A file or folder cannot be read.
        """
        return (Skill.read(file) for file in self.files())

    def files(self) -> Iterator[Path]:
        """The SKILL.md files in the order of their paths."""
        return find_skill_files(self.root) if self.root.is_dir() else iter(())

    def address(self, path: str, name: str) -> Path:
        """Where the skill of this taxonomy path and name is, or would be.

        Raises:
            UsageError: It is not a taxonomy path.
            DataError: The name is not one that the specification allows.
        """
        parts = parse_path(path)
        if not NAME.fullmatch(name):
            hint = "Use 1 to 64 lower-case letters, digits and single hyphens."
            raise DataError(f"The skill name {name[:80]!r} cannot be a folder of the library.", hint=hint)
        folder = self.root.joinpath(*parts)
        return (folder if parts[-1] == name else folder / name) / SKILL_FILE

    def locate(self, path: str) -> Path:
        """The one skill that a path addresses: a taxonomy path, or one with the skill's folder after it.

        Raises:
            UsageError: It is not such a path.
            NotFound: No skill is there.
            DataError: Several are; the message names them.
        """
        folder = self._folder(path)
        file = folder / SKILL_FILE
        if self._holds(file):
            return file
        found = [below for below in sorted(folder.glob(f"*/{SKILL_FILE}")) if self._holds(below)]
        if not found:
            raise NotFound(f"There is no skill at '{path}' in {self.root}.")
        if len(found) > 1:
            names = ", ".join(below.parent.name for below in found)
            raise DataError(
                f"'{path}' addresses {len(found)} skills: {names}.", hint="Add the name to the path."
            )
        return found[0]

    def below(self, path: str) -> tuple[Path, ...]:
        """All skills at a path and below it: what a folder addresses.

        Raises:
            UsageError: It is not such a path.
            NotFound: No skill is there.
        """
        folder = self._folder(path)
        inside = self.root.resolve()
        found = tuple(find_skill_files(folder)) if folder.is_dir() and _is_below(folder, inside) else ()
        if not found:
            raise NotFound(f"There is no skill at or below '{path}' in {self.root}.")
        return found

    def taxonomy_path_of(self, skill_file: Path) -> str:
        """The taxonomy path of a skill of the library.

        A folder whose name could be a part of a path is one; a folder with hyphens only bears the skill's
        name.

        Raises:
            UsageError: Its folders are not a taxonomy path.
            NotFound: It is not below the root.
        """
        try:
            parts = skill_file.parent.relative_to(self.root).parts
        except ValueError:
            raise NotFound(f"{skill_file} is not in the library {self.root}.") from None
        named = len(parts) > 1 and "-" in parts[-1]
        return "/".join(parse_path("/".join(parts[:-1] if named else parts)))

    def tree(self) -> Tree:
        """The taxonomy of all skills that have a taxonomy path.

        Raises:
            UsageError: A skill's folders are not a taxonomy path.
        """
        return tree_of(self.taxonomy_path_of(file) for file in self.files())

    def write(self, path: str, name: str, skill: Skill, *, force: bool = False) -> Path:
        """Put a skill at its address; whole, or not at all.

        Args:
            path: Taxonomy path.
            name: The skill's name, also in its frontmatter.
            skill: What to write, byte for byte.
            force: Replace the skill that is there.

        Raises:
            UsageError: It is not a taxonomy path.
            DataError: The name is not allowed or not the skill's own, a skill is already there, or a link
                leads out of the library.
            StorageError: It cannot be written.
        """
        target = self.address(path, name)
        if skill.name != name:
            raise DataError(f"The skill calls itself {skill.name!r}, not '{name}'.")
        if not _is_below(target.parent, self.root.resolve()):
            raise DataError(f"{target} is outside of the library {self.root}: a folder on the way is a link.")
        if force:
            write_bytes(target, skill.render())
        elif not create_bytes(target, skill.render()):
            raise _there_already(target)
        return target

    def _folder(self, path: str) -> Path:
        *above, last = path.split("/")
        if "-" in last and above and NAME.fullmatch(last):
            return self.root.joinpath(*parse_path("/".join(above)), last)
        return self.root.joinpath(*parse_path(path))

    def _holds(self, file: Path) -> bool:
        return file.is_file() and _is_below(file, self.root.resolve())


def _there_already(target: Path) -> DataError:
    return DataError(
        f"There is already a skill at {target}.", hint="Use --force to replace it.", code="exists"
    )
