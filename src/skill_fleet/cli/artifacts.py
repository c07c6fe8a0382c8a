"""`artifacts list`, `artifacts show`, `artifacts rollback`, `artifacts promote`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, Quiet, from_here, opened, screen

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or its beginning, or latest.")]


def list_(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """List published programs and the versions they replaced."""
    from skill_fleet.cli.show_artifacts import shown_artifacts
    from skill_fleet.services.artifacts import list_artifacts

    view = screen(as_json=as_json, quiet=quiet)
    found = list_artifacts(opened(ctx))
    if as_json:
        view.lines(found)
    elif found:
        view.data(found, shown_artifacts)
    else:
        view.note("Nothing is published yet. Start a run: skill-fleet optimize")


def show(
    ctx: typer.Context,
    artifact: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION]|FILE", help="A published program, or a program's file.")
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show where a program came from, and what was measured of it."""
    from skill_fleet.cli.show_artifacts import shown_artifact
    from skill_fleet.services.artifacts import show_artifact

    view = screen(as_json=as_json, quiet=quiet)
    view.data(show_artifact(opened(ctx), artifact), shown_artifact)


def rollback(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A published program, or its file in the workspace.")
    ],
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="A version or its beginning; default: the last replaced."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put an earlier version back; what is published now is kept.

    The same again without --to undoes it.
    """
    from skill_fleet.cli.show_artifacts import shown_change
    from skill_fleet.services.artifacts import rollback_artifact

    view = screen(as_json=as_json, quiet=quiet)
    view.data(rollback_artifact(opened(ctx), name, to), shown_change)


def promote(
    ctx: typer.Context,
    run: Run,
    output: Annotated[
        str | None,
        typer.Option(metavar="DIR|FILE", help="Where to publish; default: where the run would have."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Publish the program a run found, whatever its verdict.

    The verdict in its manifest stays what it was. What it replaces is kept.
    """
    from skill_fleet.cli.show_artifacts import shown_change
    from skill_fleet.services.artifacts import promote_run

    view = screen(as_json=as_json, quiet=quiet)
    value = promote_run(opened(ctx), run, None if output is None else from_here(output))
    view.data(value, shown_change)
