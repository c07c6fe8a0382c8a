"""Whole-file reads and writes: a reader sees the old file or the new one, never half of either."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skill_fleet.foundation.errors import DataError, NotFound, StorageError

_MODE = 0o644
_NO_LINKS = frozenset((errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))
"""What a file system without hard links (FAT, FUSE, some network disks) says of one."""


def read_text(path: Path, *, what: str = "file") -> str:
    """The text of a UTF-8 file.

    Args:
        path: The file.
        what: What the file is, for the message.

    Raises:
        NotFound: There is no such file.
        StorageError: It cannot be read.
        DataError: It is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise NotFound(f"The {what} {path} does not exist.") from None
    except IsADirectoryError:
        raise StorageError(f"The {what} {path} is a directory.") from None
    except OSError as error:
        raise StorageError(f"The {what} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"The {what} {path} is not UTF-8 text (byte {error.start}).") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step, durable before it is visible.

    Raises:
        StorageError: The directory or the file cannot be written; the old file is as it was.
    """
    with _whole(path, data) as temporary:
        mode = path.stat().st_mode & 0o777 if path.exists() else _MODE
        temporary.chmod(mode)
        temporary.replace(path)


def create_bytes(path: Path, data: bytes) -> bool:
    """Write a file that must not exist, durable before it is visible, and never over another.

    On a file system without hard links the name is claimed by an empty file, which is then replaced: for that
    moment a reader sees it, and who is killed or interrupted there leaves it behind.

    Returns:
        Whether it was written; not where something of that name is there.

    Raises:
        StorageError: The directory or the file cannot be written.
    """
    with _whole(path, data) as temporary:
        temporary.chmod(_MODE)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _claimed(path, temporary)
    return True


def _claimed(path: Path, temporary: Path) -> bool:
    """Whether the name was free, and has become the file's."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    except FileExistsError:
        return False
    try:
        temporary.replace(path)
    except OSError:
        path.unlink()
        raise
    return True


@contextlib.contextmanager
def _whole(path: Path, data: bytes) -> Iterator[Path]:
    """A hidden file beside a file that is to be, with all that will be in it; gone afterwards."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield Path(temporary)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = (
            "Free some disk space; a run that was begun goes on with: skill-fleet runs resume."
            if full
            else ""
        )
        raise StorageError(f"{path} cannot be written: {error.strerror}.", hint=hint) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step (UTF-8, line ends as given).

    Raises:
        DataError: The text holds half of a surrogate pair, which no file can.
        StorageError: As for `write_bytes`.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} cannot be written: character {error.start} of the text is not one."
        ) from None
    write_bytes(path, data)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step, indented, keys in the order given."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *, what: str = "file") -> Any:
    """The value in a JSON file.

    Raises:
        NotFound: There is no such file.
        DataError: It is not JSON; the message names line and column.
    """
    try:
        return json.loads(read_text(path, what=what))
    except json.JSONDecodeError as error:
        raise DataError(
            f"The {what} {path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except RecursionError:
        raise DataError(f"The {what} {path} is nested too deeply to be read.") from None
