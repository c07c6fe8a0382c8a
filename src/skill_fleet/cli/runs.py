"""`runs list`, `runs show`, `runs resume`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, MaxCalls, MaxCost, MaxMinutes, Quiet, globals_of, opened, screen

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or its beginning, or latest.")]


def list_(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """Every run of this workspace, newest first."""
    from skill_fleet.cli.show_runs import shown_runs
    from skill_fleet.services.runs import list_all

    view = screen(as_json=as_json, quiet=quiet)
    found = list_all(opened(ctx))
    if as_json:
        view.lines(found)
    elif found:
        view.data(found, shown_runs)
    else:
        view.note("There is no run yet. Start one: skill-fleet optimize")


def show(ctx: typer.Context, run: Run = "latest", as_json: Json = False, quiet: Quiet = False) -> None:
    """The result of a run, or how it stands."""
    from skill_fleet.cli.show_runs import shown_run
    from skill_fleet.services.runs import show as found

    value = found(opened(ctx), run)
    screen(as_json=as_json, quiet=quiet).data(value, shown_run)


def resume(
    ctx: typer.Context,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="As in show; default: the newest unfinished one.")
    ] = None,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a run that was stopped. No finished model call is repeated or paid again.

    Caps are those the run began with, unless given here; they count over the whole run.
    """
    from skill_fleet.cli.running import carried_out
    from skill_fleet.llm.budget import Limits
    from skill_fleet.services.optimization import prepare_resume

    view = screen(as_json=as_json, quiet=quiet)
    context = opened(ctx)
    raised = Limits(usd=max_cost, calls=max_calls, minutes=max_minutes)
    prepared = prepare_resume(context, run, raised)
    if prepared.folder is not None:
        view.note(f"Going on with {prepared.folder.run_id}.")
    return carried_out(context, prepared, view, globals_of(ctx))
