"""The files of a job's folder that decide how it goes on, and how they get from one machine to another.

The store has them as of the end of the last stage that was finished under a lease, which makes them the
truth. What stands in the folder and not in the store was written after that, on this machine.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from skill_fleet.foundation.errors import IntegrityError, StorageError
from skill_fleet.foundation.files import write_bytes

GROWING = "events.jsonl"
"""Only ever appended to: of two of them the longer one is the newer, where it begins with the other."""

_NOT_KEPT = frozenset({"lock", "optimizer.log"})


class ChangedFiles:
    """What changed in a folder since it was last asked.

    Args:
        folder: The job's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, bytes] = {}

    def take(self) -> dict[str, bytes]:
        """The files that are new or other than before, by their path in the folder.

        Raises:
            StorageError: One cannot be read.
        """
        changed = {}
        for name, data in _contents(self.folder).items():
            found = hashlib.sha256(data).digest()
            if self._seen.get(name) != found:
                self._seen[name] = found
                changed[name] = data
        return changed

    def forget(self) -> None:
        """Whatever was taken did not arrive: take all of it again."""
        self._seen.clear()


def restore(folder: Path, kept: Mapping[str, bytes]) -> None:
    """Put what the store has into a folder; what only the folder has stays.

    Raises:
        IntegrityError: A name leads out of the folder.
        StorageError: A file cannot be read or written.
    """
    for name, data in kept.items():
        file = folder / _checked(name)
        if name == GROWING and file.exists() and _read(file).startswith(data):
            continue
        write_bytes(file, data)


def _contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return {
        file.relative_to(folder).as_posix(): _read(file)
        for file in files
        if file.name not in _NOT_KEPT and not file.name.startswith(".")
    }


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}.") from error


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
        raise IntegrityError(f"The job's file {name[:80]!r} has no place in its folder.")
    return path
