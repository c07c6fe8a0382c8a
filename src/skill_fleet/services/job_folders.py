"""The folders of jobs in a workspace: marked as a job's when its work begins, and removed with the job.

A folder that bears no mark is a run's of the terminal, and is never touched. What a job has published, and
the skills it has written, lie elsewhere and stay.
"""

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import NotFound, Removed, SkillFleetError, StorageError
from skill_fleet.foundation.files import write_json
from skill_fleet.jobs.records import Job, Kind
from skill_fleet.jobs.store import JobStore
from skill_fleet.optimization.records.runs import JOB_MARK, RunFolder

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 300.0
_GLANCE_SECONDS = 1.0
_AT_ONCE = 500


class Living(Protocol):
    """A worker, as far as its end is looked for."""

    @property
    def alive(self) -> bool:
        """Whether it is working."""
        ...


def folder_of(workspace: Workspace, job_id: str, kind: Kind) -> Path:
    """Where a job is worked on in this workspace."""
    return (workspace.runs if kind == "optimization" else workspace.state / "creations") / job_id


def mark(workspace: Workspace, job: Job) -> None:
    """Mark the folder of a job as its own, before anything else is in it.

    Raises:
        StorageError: It cannot be written.
    """
    file = folder_of(workspace, job.job_id, job.kind) / JOB_MARK
    if not file.exists():
        write_json(file, {"job_id": job.job_id, "kind": job.kind})


def remove_folders(workspace: Workspace, job_id: str) -> int:
    """Remove what this workspace keeps of a job; a folder in which a process is at work stays for a sweep.

    Returns:
        How many folders.

    Raises:
        StorageError: Something cannot be removed.
    """
    here = [path for path in _marked(workspace) if path.name == job_id]
    return sum(_removed(path) for path in here)


def sweep_folders(workspace: Workspace, store: JobStore) -> int:
    """Remove the folders of jobs that were removed, wherever that was asked for; all others stay.

    A job that the store does not know may be another store's: its folder stays.

    Returns:
        How many folders.

    Raises:
        StorageError: The store does not answer, or something cannot be removed.
    """
    marked = list(_marked(workspace))
    gone = 0
    for start in range(0, len(marked), _AT_ONCE):
        some = marked[start : start + _AT_ONCE]
        known = store.pulses({path.name for path in some})
        gone += sum(_removed(path) for path in some if path.name not in known and _was_removed(store, path))
    return gone


def keep_folders(workspace: Workspace, store: JobStore, worker: Living) -> threading.Thread:
    """Sweep now and then, in a thread that ends with the worker."""

    def keep() -> None:
        stop = threading.Event()
        left = 0.0
        while worker.alive:
            if left <= 0:
                left = _SWEEP_SECONDS
                try:
                    sweep_folders(workspace, store)
                except SkillFleetError as error:  # tried again the next time
                    log.warning("Folders of removed jobs are still there: %s", error.message)
            stop.wait(_GLANCE_SECONDS)
            left -= _GLANCE_SECONDS

    thread = threading.Thread(target=keep, name="folders", daemon=True)
    thread.start()
    return thread


def _marked(workspace: Workspace) -> Iterator[Path]:
    for place in (workspace.runs, workspace.state / "creations"):
        if place.is_dir():
            yield from (
                path
                for path in sorted(place.iterdir())
                if (path / JOB_MARK).is_file() and not path.is_symlink()
            )


def _was_removed(store: JobStore, folder: Path) -> bool:
    try:
        store.get(folder.name)
    except Removed:
        return True
    except NotFound:
        return False
    return False


def _removed(folder: Path) -> bool:
    """Whether it is gone. Its mark goes last, so that what a killed process began is ended by the next."""
    if (folder / "lock").exists() and RunFolder(folder).is_locked():
        return False
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != JOB_MARK:
                path.unlink()
        (folder / JOB_MARK).unlink()
        folder.rmdir()
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be removed: {error.strerror}.") from error
    return True
