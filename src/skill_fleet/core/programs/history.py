"""Earlier versions of a published program: what was replaced is kept, with its manifest, and can be put back.

They lie beside the program, `versions/<name>/<version>.json` and its manifest; `history.jsonl` says in which
order they were replaced. A version's name is the beginning of its program's hash; of a file that has no
intact manifest, of the file's own.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from skill_fleet.core.programs.artifact import Manifest, manifest_path, read_origin
from skill_fleet.foundation.errors import DataError, IntegrityError, NotFound, SkillFleetError, StorageError
from skill_fleet.foundation.files import write_bytes

FOLDER = "versions"
_HISTORY = "history.jsonl"
_LENGTH = 12
_VERSION = re.compile(r"([0-9a-f]{12})(-\d+)?")
_LOCK_SECONDS = 30

Replacing = Literal["optimize", "rollback", "promote"]


@dataclass(frozen=True)
class Version:
    """A published program, or one that was.

    Attributes:
        id: Its name among the versions.
        path: The program file.
        manifest: Where it came from, or None.
        problem: Why it cannot be used, in one sentence, or None.
        current: Whether it is what is published now.
    """

    id: str
    path: Path
    manifest: Manifest | None
    problem: str | None
    current: bool


@contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """Hold publishing in a workspace for this process, so that nothing is replaced that was not kept.

    Raises:
        StorageError: Another process publishes for too long, or the directory cannot be written.
    """
    lock = FileLock(state / "publishing.lock")
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        raise StorageError(f"Another process is publishing in {state.parent}.") from None
    except OSError as error:
        raise StorageError(f"{state} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


def keep_version(path: Path, *, at: str, how: Replacing) -> str | None:
    """Keep what is at a place before it is replaced; the same program with the same manifest once.

    The manifest is written first: a version whose program file is there is whole.

    Args:
        path: `NAME.json`.
        at: ISO 8601, UTC.
        how: What replaces it.

    Returns:
        Its version; None where there is nothing, or only halves of two versions that a kill left.

    Raises:
        StorageError: It cannot be kept; then it must not be replaced.
    """
    if not path.exists():
        return None
    program, manifest = _pair(path)
    if _is_mixed(path) and _halves_are_kept(path):
        return None
    version = _free(_folder(path), _identity(path, program), (program, manifest))
    target = _folder(path) / f"{version}.json"
    if _pair(target) != (program, manifest):
        if manifest is None:
            _unlink(manifest_path(target))
        else:
            write_bytes(manifest_path(target), manifest)
        write_bytes(target, program or b"")
    _note(path, {"at": at, "replaced": version, "by": how})
    return version


def put_in_place(source: Path, path: Path, *, at: str, how: Replacing) -> str | None:
    """Copy a program and its manifest, byte for byte, to where programs are published.

    What is there is kept first. A kill between the two files leaves a pair that is refused when it is loaded;
    the same again mends it.

    Returns:
        The version that was replaced; None where there was nothing, or the same already.

    Raises:
        StorageError: A file cannot be written.
    """
    wanted, there = _pair(source), _pair(path)
    if wanted == there:
        return None
    replaced = keep_version(path, at=at, how=how)
    program, manifest = wanted
    if manifest is None:
        _unlink(manifest_path(path))
    write_bytes(path, program or b"")
    if manifest is not None:
        write_bytes(manifest_path(path), manifest)
    return replaced


def holds(path: Path, program_hash: str) -> Manifest | None:
    """The manifest of what is published at a place, if that is this program and whole; else None."""
    try:
        manifest = read_origin(path)
    except (NotFound, DataError, IntegrityError):
        return None
    return manifest if manifest is not None and manifest.program_hash == program_hash else None


def list_versions(path: Path) -> list[Version]:
    """What is published at a place, then what was: the last replaced first. A damaged one says so."""
    found = []
    there = _pair(path)
    kept = _ordered(path)
    if there[0] is not None:
        same = next((version for version in kept if _pair(version) == there), None)
        kept = [version for version in kept if version != same]
        # The name under which it will be kept: it does not change when it is replaced or put back.
        name = _free(_folder(path), _identity(path, there[0]), there) if same is None else same.stem
        found.append(_described(path, name, current=True))
    return [*found, *(_described(version, version.stem, current=False) for version in kept)]


def find_version(path: Path, wanted: str | None) -> Version:
    """A version by its name or the beginning of it; None is the one that was replaced last.

    Raises:
        NotFound: There is none, or several begin so.
    """
    found = list_versions(path)
    if wanted is None:
        earlier = next((version for version in found if not version.current), None)
        if earlier is None:
            raise NotFound(f"There is no earlier version of '{path.stem}'.")
        return earlier
    exact = [version for version in found if version.id == wanted]
    matches = exact or [version for version in found if wanted and version.id.startswith(wanted)]
    if len(matches) != 1:
        kind = "several versions" if matches else "no version"
        known = ", ".join(version.id for version in found[:5]) or "none"
        raise NotFound(f"There is {kind} '{wanted}' of '{path.stem}'.", hint=f"Known: {known}.")
    return matches[0]


def _described(path: Path, name: str, *, current: bool) -> Version:
    try:
        manifest = read_origin(path)
        if not current:
            _check_name(path, manifest)
    except SkillFleetError as error:
        return Version(name, path, None, error.message, current)
    return Version(name, path, manifest, None, current)


def _check_name(path: Path, manifest: Manifest | None) -> None:
    """A kept version bears the name of what it holds."""
    whose = _digest(path.read_bytes()) if manifest is None else manifest.program_hash[:_LENGTH]
    named = _VERSION.fullmatch(path.stem)
    if named is None or named[1] != whose:
        raise IntegrityError(f"{path} is not the program that was kept under this name.")


def _identity(path: Path, program: bytes | None) -> str:
    try:
        manifest = read_origin(path)
    except (DataError, IntegrityError):
        manifest = None
    name = "" if manifest is None else manifest.program_hash[:_LENGTH]
    return name if _VERSION.fullmatch(name) else _digest(program or b"")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_LENGTH]


def _free(folder: Path, name: str, pair: tuple[bytes | None, bytes | None]) -> str:
    """The name under which this pair is kept or can be: the same program of another origin gets a number."""
    number, version = 1, name
    while (folder / f"{version}.json").exists() and _pair(folder / f"{version}.json") != pair:
        number += 1
        version = f"{name}-{number}"
    return version


def _is_mixed(path: Path) -> bool:
    try:
        read_origin(path)
    except IntegrityError:
        return True
    except DataError:
        pass
    return False


def _halves_are_kept(path: Path) -> bool:
    kept = [_pair(version) for version in _ordered(path)]
    program, manifest = _pair(path)
    return any(pair[0] == program for pair in kept) and any(pair[1] == manifest for pair in kept)


def _ordered(path: Path) -> list[Path]:
    """The files of kept versions, the last replaced first; those the history does not know come last."""
    folder = _folder(path)
    if not folder.is_dir():
        return []
    rank = {version: number for number, version in enumerate(_history(path), start=1)}
    files = sorted(file for file in folder.glob("*.json") if _VERSION.fullmatch(file.stem))
    return sorted(files, key=lambda file: -rank.get(file.stem, 0))


def _history(path: Path) -> Iterator[str]:
    file = _folder(path) / _HISTORY
    for line in file.read_bytes().split(b"\n") if file.exists() else ():
        try:
            yield str(json.loads(line)["replaced"])
        except (ValueError, KeyError, TypeError):  # a line that a kill cut off
            continue


def _note(path: Path, line: dict[str, str]) -> None:
    file = _folder(path) / _HISTORY
    before = file.read_bytes() if file.exists() else b""
    if before and not before.endswith(b"\n"):
        before += b"\n"
    write_bytes(file, before + json.dumps(line).encode() + b"\n")


def _folder(path: Path) -> Path:
    return path.parent / FOLDER / path.stem


def _pair(path: Path) -> tuple[bytes | None, bytes | None]:
    """The bytes of a program file and of its manifest, None where there is none."""
    return _bytes(path), _bytes(manifest_path(path))


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be removed: {error.strerror}.") from error
