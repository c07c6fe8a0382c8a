"""What came of a job of the service, on the screen of the command that does the same on this machine."""

import contextlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.options import Globals
from skill_fleet.foundation.errors import BudgetExhausted, SkillFleetError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skill_fleet.cli.screen import Screen
    from skill_fleet.client.records import Job


@dataclass(frozen=True)
class Caller:
    """Whose terminal it is.

    Attributes:
        globals: What was said before the command.
        server: The address of the service as it was given; None where it was not.
    """

    globals: Globals
    server: str | None

    def command(self, words: str) -> str:
        """A command line to be typed next, in this workspace and for this service."""
        where = "" if self.server is None else f" --server {shlex.quote(self.server)}"
        return self.globals.command(f"{words}{where}")

    def has_files_of(self, job: "Job", result: Mapping[str, Any]) -> bool:
        """Whether the files that a result names are those of this workspace, as far as can be told."""
        from skill_fleet.config.load import environment
        from skill_fleet.config.paths import Workspace
        from skill_fleet.foundation.files import read_json

        environ = environment()
        root = self.globals.workspace or Path(environ.get("SKILL_FLEET_WORKSPACE") or Path.cwd())
        workspace = Workspace.at(root, environ)
        if job.kind == "creation":
            begun = workspace.state / "creations" / job.job_id
            return begun.is_dir() and (workspace.root / str(result["path"])).is_file()
        with contextlib.suppress(SkillFleetError):
            own = read_json(workspace.runs / job.job_id / "result.json", what="result")
            names = ("run_id", "seconds", "artifact", "report")
            return isinstance(own, Mapping) and all(own.get(name) == result.get(name) for name in names)
        return False


def shown_outcome(
    job: "Job", result: Mapping[str, Any], worker: str | None, caller: Caller
) -> "Callable[[Mapping[str, Any]], RenderableType]":
    """How to show what came of a job.

    Args:
        job: The job.
        result: What came of it.
        worker: Who had it last.
        caller: For whom.
    """
    from functools import partial

    here = caller.has_files_of(job, result)
    owner = "its worker" if worker is None else f"worker {worker}"
    elsewhere = "" if here else f"in the workspace of {owner}"
    if job.kind == "creation":
        from skill_fleet.cli.show_skills import shown_creation

        return partial(shown_creation, elsewhere=elsewhere)
    from skill_fleet.cli.show_run import shown_result

    report = None if here else caller.command(f"jobs report {job.job_id}")
    return partial(shown_result, elsewhere=elsewhere, report=report)


def creation_code(result: Mapping[str, Any], view: "Screen") -> int:
    """Say why fewer drafts were written than were asked for.

    Returns:
        The exit code: 0 where all were written.
    """
    if result["error"] is None:
        return 0
    view.warn(f"error: {result['error']['message']} The best of {len(result['drafts'])} drafts was kept.")
    return BudgetExhausted.exit_code if result["error"]["code"] == "budget" else 1
