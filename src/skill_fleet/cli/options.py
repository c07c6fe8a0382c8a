"""Options that several commands share, and what they have in common."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.screen import Screen

if TYPE_CHECKING:
    from skill_fleet.services.context import Context
    from skill_fleet.services.measuring import Measuring

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Never ask; go on as if there were no terminal.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")]
MaxCost = Annotated[float | None, typer.Option(min=0, metavar="USD", help="Cap on dollars.")]
MaxCalls = Annotated[int | None, typer.Option(min=0, metavar="N", help="Cap on model calls.")]


def _above_zero(value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise typer.BadParameter(f"{value:g} is not above 0.")
    return value


MaxMinutes = Annotated[
    float | None,
    typer.Option(metavar="N", help="Cap on minutes, above 0.", callback=_above_zero),
]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Model, registered or provider/name.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Metric = Annotated[
    str | None, typer.Option(metavar="MODULE:FUNCTION", help="What scores; default: skill quality.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=256, metavar="N", help="Examples under way at a time.")
]
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


def opened(ctx: typer.Context, **flags: Any) -> "Context":
    """The workspace's context, flags laid over its settings.

    Args:
        ctx: The command.
        **flags: `section__key` -> value; None values are not set.
    """
    from skill_fleet.services.context import open_context

    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return open_context(globals_of(ctx).workspace, flags=dotted)


def from_here(output: str) -> str:
    """An output as the user means it: from the current directory, a closing slash kept."""
    path = Path(output).expanduser()
    whole = str(path if path.is_absolute() else Path.cwd() / path)
    return f"{whole}/" if output.endswith("/") else whole


def measuring(
    context: "Context", *, data: str | None, metric: str | None, model: str | None, num_threads: int | None
) -> "Measuring":
    """How programs are to be measured, the caps from the settings."""
    from skill_fleet.services.measuring import Measuring
    from skill_fleet.services.optimization import limits_of

    limits = limits_of(context.settings)
    return Measuring(data, metric, model, num_threads=num_threads, limits=limits)


def screen(*, as_json: bool, quiet: bool = False) -> Screen:
    """Where the command writes; from now on what anybody else prints goes to stderr.

    A program, a metric or a reward may print: stdout is for the command's data. `main` undoes it.
    """
    made = Screen(as_json=as_json, quiet=quiet)
    sys.stdout = made.err
    return made
