"""`runs/<run_id>/`: everything one run leaves behind, and the lock that keeps two processes off it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from skill_fleet.foundation.clock import Clock, timed_name
from skill_fleet.foundation.errors import DataError, NotFound, StorageError, UnknownName
from skill_fleet.foundation.files import read_json, write_json

JOB_MARK = "job.json"
"""In the folder of a run that is a job of the service."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: `.skill-fleet/runs/<run_id>`.
        name: The run's name where the folder does not bear it: a fold's is a part of the run's.
    """

    path: Path
    name: str | None = None

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.name or self.path.name

    @property
    def request(self) -> Path:
        """What was asked for."""
        return self.path / "request.json"

    @property
    def identity(self) -> Path:
        """What decides the result, as digests: compared before a resume."""
        return self.path / "identity.json"

    @property
    def data(self) -> Path:
        """The split examples, so that a resume does not depend on files that change."""
        return self.path / "data.json"

    @property
    def set_aside(self) -> Path:
        """Examples that failed for good before the search, decided once."""
        return self.path / "set_aside.json"

    @property
    def baseline(self) -> Path:
        """What a run of the program and a call took in the baseline, decided once."""
        return self.path / "baseline.json"

    @property
    def quarantine(self) -> Path:
        """Examples that failed for good in a search, each with its round; absent where none did."""
        return self.path / "quarantine.json"

    @property
    def withheld(self) -> Path:
        """Proposals withheld for good in a search, each with its round; absent where none was."""
        return self.path / "withheld.json"

    @property
    def events(self) -> Path:
        """What happened."""
        return self.path / "events.jsonl"

    @property
    def result(self) -> Path:
        """What came of it; absent while the run is not over."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The result for people."""
        return self.path / "report.md"

    @property
    def incumbent(self) -> Path:
        """A copy of what was at the output when the run began; absent where nothing was."""
        return self.path / "incumbent.json"

    @property
    def estimate(self) -> Path:
        """What the run was expected to take when it began; absent before."""
        return self.path / "estimate.json"

    @property
    def profile(self) -> Path:
        """What a few examples took with the configured model; absent where none were asked for."""
        return self.path / "profile.json"

    @property
    def candidate(self) -> Path:
        """The best program found, published or not."""
        return self.path / "candidate.json"

    @property
    def is_job(self) -> bool:
        """Whether the run is a job of the service, which alone goes on with it."""
        return (self.path / JOB_MARK).is_file()

    @property
    def optimizer_log(self) -> Path:
        """What the optimizer itself printed."""
        return self.path / "optimizer.log"

    def fold(self, number: int) -> "RunFolder":
        """The files of a fold, counted from 1.

        Raises:
            StorageError: The folder cannot be made.
        """
        path = self.path / "folds" / f"{number:03d}"
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"The folder {path} cannot be made: {error.strerror}.") from error
        return RunFolder(path, self.run_id)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises:
            StorageError: Another process is running it.
        """
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StorageError(f"The run {self.run_id} is being run by another process.") from None
        except OSError as error:
            raise StorageError(f"The run folder {self.path} cannot be written: {error.strerror}.") from error
        try:
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Whether a process is running it now."""
        lock = FileLock(self.path / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return True
        lock.release()
        return False


def new_run(runs: Path, clock: Clock) -> RunFolder:
    """Make the folder of a new run.

    Raises:
        StorageError: It cannot be made.
    """
    while True:
        folder = RunFolder(runs / timed_name(clock, 6))
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"The run folder {folder.path} cannot be made: {error.strerror}.") from error
        return folder


def find_run(runs: Path, run_id: str) -> RunFolder:
    """A run by its name, or by the beginning of it; `latest` is the newest.

    Raises:
        NotFound: There is no run.
        UnknownName: None, or more than one, begins so.
    """
    known = [folder.run_id for folder in list_runs(runs)]
    if not known:
        raise NotFound(f"There is no run in {runs}.", hint="Start one: skill-fleet optimize.")
    if run_id == "latest":
        return RunFolder(runs / known[0])
    matches = [name for name in known if name.startswith(run_id)] if run_id else []
    if len(matches) != 1:
        error = UnknownName("run", run_id, known[:5])
        raise NotFound(error.message, hint=error.hint)
    return RunFolder(runs / matches[0])


def list_runs(runs: Path) -> list[RunFolder]:
    """All runs, newest first."""
    if not runs.is_dir():
        return []
    folders = [RunFolder(path) for path in runs.iterdir() if (path / "request.json").exists()]
    return sorted(folders, key=lambda folder: folder.run_id, reverse=True)


def status_of(folder: RunFolder) -> tuple[str, dict[str, Any] | None]:
    """How a run stands: its result's status, `running`, or `interrupted`; and its result.

    Raises:
        DataError: The result is damaged.
    """
    if folder.result.exists():
        result = read_json(folder.result, what="result")
        if not isinstance(result, dict):
            raise DataError(f"The result of the run {folder.run_id} is no JSON object.")
        return str(result.get("status", "unknown")), result
    return ("running" if folder.is_locked() else "interrupted"), None


def unfinished(runs: Path) -> list[RunFolder]:
    """Runs that can still be resumed and need their responses for it; jobs of the service among them."""
    left = []
    for folder in list_runs(runs):
        status, result = status_of(folder)
        if status in {"running", "interrupted"} or (result is not None and result.get("resume")):
            left.append(folder)
    return left


def save_identity(folder: RunFolder, identity: Mapping[str, Any]) -> None:
    """Write down what decides the result."""
    write_json(folder.identity, dict(identity))
