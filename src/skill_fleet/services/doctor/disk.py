"""Where state and answers are kept: whether they can be written, locked, and have room."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check, Status

_LITTLE_SPACE = 1_000_000_000
_NO_SPACE = 50_000_000
_MOUNTS = Path("/proc/mounts")
_NETWORKED = frozenset(
    "9p afs beegfs ceph cifs davfs fuse.gcsfuse fuse.rclone fuse.s3fs fuse.sshfs glusterfs lustre ncpfs nfs "
    "nfs4 smb smb2 smb3 smbfs vboxsf".split()
)


def disk(context: Context) -> Iterator[Check]:
    """The folders of state and cache."""
    for name, folder in (("state", context.workspace.state), ("cache", context.workspace.cache)):
        nearest = next(place for place in (folder, *folder.parents) if _there(place))
        if not nearest.is_dir() or not _writable(nearest):
            wrong = "not writable" if nearest.is_dir() else "not a directory"
            yield Check(name, "error", f"{folder} cannot be written: {nearest} is {wrong}.")
            continue
        yield _space(name, folder, nearest)
        kind = filesystem(nearest)
        if kind in _NETWORKED:
            said = f"{folder} is on a network file system ({kind}), where SQLite's locks may not hold."
            hint = "Keep it on a local disk (DSPY_CACHEDIR, --workspace), or use PostgreSQL."
            yield Check(name, "warning", said, hint)
        trouble = locking_trouble(nearest)
        if trouble:
            hint = "Keep it on a local disk (DSPY_CACHEDIR, --workspace)."
            yield Check(name, "error", f"SQLite cannot work in {nearest}: {trouble}.", hint)


def _there(place: Path) -> bool:
    """Whether it is there, and may be seen."""
    try:
        return place.exists()
    except PermissionError:
        return False  # the folder it is in says why


def _writable(folder: Path) -> bool:
    """Whether this user may write there: the one that files are opened as, where the system can tell."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _space(name: str, folder: Path, nearest: Path) -> Check:
    free = shutil.disk_usage(nearest).free
    if free >= _LITTLE_SPACE:
        return Check(name, "ok", f"{folder}: writable, {free / 1e9:.0f} GB free.")
    status: Status = "error" if free < _NO_SPACE else "warning"
    return Check(name, status, f"{folder}: only {free / 1e6:.0f} MB free.", "Free some disk space.")


def locking_trouble(folder: Path) -> str:
    """Why SQLite's locks do not hold in a folder; an empty text where they do. Leaves nothing behind."""
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".doctor-") as place:
            return locked_twice((Path(place) / "lock.sqlite").as_uri())
    except OSError as error:
        return f"{error.strerror}"


def locked_twice(address: str) -> str:
    """Why two connections to a database are not kept apart; an empty text where they are.

    Args:
        address: A URI of a file that is not there yet.
    """
    try:
        with closing(sqlite3.connect(address, isolation_level=None, uri=True)) as first:
            mode = first.execute("pragma journal_mode=wal").fetchone()[0]
            if mode != "wal":
                return f"it has no write-ahead log there, but '{mode}'"
            first.execute("create table t (x)")
            first.execute("begin immediate")
            with closing(sqlite3.connect(address, timeout=0, isolation_level=None, uri=True)) as second:
                try:
                    second.execute("begin immediate")
                except sqlite3.OperationalError:
                    return ""
                return "a lock does not keep others out"
    except sqlite3.Error as error:
        return str(error)


def filesystem(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of file system a folder is on; None where the machine does not tell.

    Args:
        folder: Absolute.
        mounts: A table as Linux has it.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        place = Path(parts[1].replace("\\040", " "))
        if folder.resolve().is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), parts[2]
    return kind
