"""What was begun and not finished: runs, and files that a killed process was writing."""

from collections.abc import Iterator
from pathlib import Path

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.optimization.records.runs import unfinished
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check

_TEMPORARY = ".*.????????"
"""How `foundation.files.write_bytes` names a file until it is whole: `.name.` and eight characters."""
_OLD_SECONDS = 3600.0


def leftovers(context: Context) -> Iterator[Check]:
    """Unfinished runs, and halves of files."""
    try:
        left = [folder for folder in unfinished(context.workspace.runs) if not folder.is_job]
    except SkillFleetError as error:
        yield Check("runs", "warning", error.message, error.hint)
    else:
        if left:
            hint = f"skill-fleet runs resume {left[0].run_id}"
            yield Check("runs", "warning", f"{len(left)} unfinished, the newest {left[0].run_id}.", hint)
        else:
            yield Check("runs", "ok", "None is unfinished.")
    halves = list(_halves(context))
    if halves:
        said = f"{len(halves)} half-written files of processes that were killed, such as {halves[0]}."
        yield Check("files", "warning", said, "They are in nobody's way, and may be deleted.")


def _halves(context: Context) -> Iterator[Path]:
    before = context.clock.now() - _OLD_SECONDS
    for folder in (context.workspace.config_file.parent, context.workspace.optimized):
        if folder.is_dir():
            for path in sorted(folder.glob(_TEMPORARY)):
                if path.is_file() and path.stat().st_mtime < before:
                    yield path
