"""The embedded store has one worker: a file says who."""

from pathlib import Path

from filelock import FileLock, Timeout

from skill_fleet.foundation.errors import StorageError
from skill_fleet.foundation.files import write_text


class WorkerLock:
    """Held by the only worker of a folder; the system lets go of it when the process dies.

    Args:
        folder: Of the embedded database.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / "worker.lock", thread_local=False)
        self._holder = folder / "worker.pid"

    def take(self, pid: int) -> None:
        """Be the worker.

        Raises:
            StorageError: Another process is.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StorageError(
                f"The jobs in {self._folder} are already being worked on by process {self._who()}.",
                hint="Stop it first, or give both a PostgreSQL database in SKILL_FLEET_DATABASE_URL.",
                code="worker_exists",
            ) from None
        except OSError as error:
            raise StorageError(f"{self._folder} cannot be locked: {error.strerror}.") from error
        write_text(self._holder, f"{pid}\n")

    def release(self) -> None:
        """Be the worker no more."""
        self._lock.release()

    def _who(self) -> str:
        try:
            return self._holder.read_text(encoding="ascii").strip() or "?"
        except (OSError, UnicodeDecodeError):
            return "?"
