"""Options that several commands share, and what they have in common."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.screen import Screen

if TYPE_CHECKING:
    from skill_fleet.services.context import Context

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never ask; go on as if there were no terminal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Model, registered or provider/name.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Metric = Annotated[
    str | None, typer.Option(metavar="MODULE:FUNCTION", help="What scores; default: skill quality.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=256, metavar="N", help="Examples under way at a time.")
]
MinGroups = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Fewest independent groups to split.")
]
Module = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this predictor; repeatable.")]
Task = Annotated[str, typer.Option(metavar="TEXT", help="What an agent should be able to do.")]
ProgramFile = Annotated[
    str | None, typer.Option("--program", metavar="FILE", help="An optimized program's file.")
]


@dataclass(frozen=True)
class Globals:
    """What was said before the command.

    Attributes:
        workspace: As given, or None.
    """

    workspace: Path | None = None

    def command(self, words: str) -> str:
        """A command line to be typed next, in this workspace."""
        if self.workspace is None:
            return f"skill-fleet {words}"
        import shlex

        return f"skill-fleet --workspace {shlex.quote(str(self.workspace))} {words}"


def globals_of(ctx: typer.Context) -> Globals:
    """What was said before the command."""
    found = ctx.find_root().obj
    return found if isinstance(found, Globals) else Globals()


def opened(ctx: typer.Context, *flags: Mapping[str, Any]) -> "Context":
    """The workspace's context, flags laid over its settings.

    Args:
        ctx: The command.
        *flags: Dotted names of settings -> values; None values are not set.
    """
    from skill_fleet.services.context import open_context

    given = {name: value for some in flags for name, value in some.items()}
    return open_context(globals_of(ctx).workspace, flags=given)


def from_here(output: str) -> str:
    """An output as the user means it: from the current directory, a closing slash kept."""
    path = Path(output).expanduser()
    whole = str(path if path.is_absolute() else Path.cwd() / path)
    return f"{whole}/" if output.endswith("/") else whole


def screen(*, as_json: bool, quiet: bool = False) -> Screen:
    """Where the command writes; from now on what anybody else prints goes to stderr.

    A program, a metric or a reward may print: stdout is for the command's data. `main` undoes it.
    """
    made = Screen(as_json=as_json, quiet=quiet)
    sys.stdout = made.err
    return made
