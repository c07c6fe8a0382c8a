"""Where a run publishes: found, and tried, before anything is spent."""

import os
import tempfile
from pathlib import Path

from skill_fleet.config.load import Loaded
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import ProgramEntry
from skill_fleet.foundation.errors import DataError, IntegrityError, StorageError, UsageError
from skill_fleet.optimization.records.request import OptimizationRequest

_DEFAULT_NAME = "skill_creator.json"


def output_file(request: OptimizationRequest, loaded: Loaded) -> Path:
    """Where the program will be published: a file, or the default name in a directory.

    Raises:
        UsageError: It is not a .json file.
        StorageError: It cannot be written there.
    """
    place = loaded.workspace.optimized if request.output is None else Path(request.output)
    place = place if place.is_absolute() else loaded.workspace.root / place
    directory = place.is_dir() or (request.output or "/").endswith(("/", os.sep)) or not place.suffix
    file = place / _default_name(request) if directory else place
    if file.suffix != ".json" or file.name.endswith(".manifest.json"):
        raise UsageError(f"--output {request.output} is neither a directory nor a .json file.")
    nearest = next(parent for parent in file.parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK) or file.is_dir():
        raise StorageError(f"--output {file} cannot be written: {nearest} is not a writable directory.")
    _try_to_write(file, nearest)
    return file


def _try_to_write(file: Path, nearest: Path) -> None:
    """Permissions do not say everything (a full disk, /proc): only writing does."""
    try:
        Path(tempfile.mkdtemp(prefix=".writable-", dir=nearest)).rmdir()
    except OSError as error:
        raise StorageError(
            f"--output {file} cannot be written: nothing can be made in {nearest} ({error.strerror})."
        ) from error


def _default_name(request: OptimizationRequest) -> str:
    if ":" not in request.program:
        return _DEFAULT_NAME
    words = "".join(c if c.isalnum() else " " for c in request.program.partition(":")[2]).split()
    return f"{'_'.join(words).lower()}.json"


def check_output(output: Path, entry: ProgramEntry, loaded: Loaded) -> None:
    """What is at the output is what the new program is measured against: it must be one of its kind.

    Raises:
        DataError, IntegrityError: It is not.
    """
    if not output.exists():
        return
    try:
        load_artifact(output, program=entry.name, search=loaded.workspace.root)
    except (DataError, IntegrityError) as error:
        raise type(error)(
            f"--output {output} cannot be replaced: {error.message}",
            hint="Move that file away, or choose another --output.",
        ) from error


def check_incumbent(output: Path, entry: ProgramEntry, loaded: Loaded) -> None:
    """What is at the output, perhaps by this very run, must still be a state of the changed program.

    Raises:
        DataError: It is not.
    """
    if not output.exists():
        return
    try:
        load_artifact(output, program=entry.name, search=loaded.workspace.root)
    except DataError as error:
        hint = "Move that file away, or start a new run with another --output."
        raise DataError(error.message, hint=hint) from error
