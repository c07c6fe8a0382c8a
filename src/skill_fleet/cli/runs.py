"""`runs list`, `runs show`, `runs resume`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps
from skill_fleet.cli.options import (
    Json,
    NoInput,
    Quiet,
    Yes,
    globals_of,
    opened,
    screen,
)
from skill_fleet.cli.screen import Screen

if TYPE_CHECKING:
    from skill_fleet.services.context import Context
    from skill_fleet.services.optimization import Prepared

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or its beginning, or latest.")]


def list_(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the runs of this workspace, newest first."""
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
    """Show the result of a run, or how it stands."""
    from skill_fleet.cli.show_runs import shown_run
    from skill_fleet.services.runs import show as found

    value = found(opened(ctx), run)
    screen(as_json=as_json, quiet=quiet).data(value, shown_run)


@grouped
def resume(
    ctx: typer.Context,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="As in show; default: the newest unfinished one.")
    ] = None,
    caps: Caps = Caps(),
    resume_anyway: Annotated[
        bool, typer.Option("--resume-anyway", help="Also when the program, the metric, … has changed since.")
    ] = False,
    yes: Yes = False,
    no_input: NoInput = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a run that was stopped. No finished model call is repeated or paid again.

    Caps are those the run began with, unless given here; they count over the whole run.

    When something that decides the result has changed since, the run is refused, unless --resume-anyway: then
    it says what that costs and asks. Calls whose prompts changed are made and paid again.
    """
    from skill_fleet.cli.running import carried_out
    from skill_fleet.services.optimization import prepare_resume

    view = screen(as_json=as_json, quiet=quiet)
    context = opened(ctx)
    prepared = prepare_resume(context, run, caps.limits(), anyway=resume_anyway)
    if not _agreed(context, prepared, view, ask=not (yes or no_input)):
        view.note("Nothing was started.")
        return 0
    if prepared.folder is not None:
        view.note(f"Going on with {prepared.folder.run_id}.")
    return carried_out(context, prepared, view, globals_of(ctx))


def _agreed(context: "Context", prepared: "Prepared", view: Screen, *, ask: bool) -> bool:
    """Whether the user wants to go on over what has changed, at its price; True where nothing has."""
    from skill_fleet.cli.numbers import between, dollars
    from skill_fleet.services.optimization import price_of_changes

    price = price_of_changes(context, prepared)
    if price is None:
        return True
    spent, (least, most), whole = price["spent"], price["again"], price["estimate"]
    surely = f", {least} of them for sure" if least else ""
    cost = "an unknown cost" if whole["usd"] is None else between(whole["usd"], dollars)
    paid = "an unknown cost" if spent["usd"] is None else dollars(spent["usd"])
    view.warn(f"Since the run began {', and '.join(price['changed'])}.")
    view.warn(
        "It starts over with what is there now, on the data it began with. Calls whose prompts are the same "
        f"are answered by the journal; of the {spent['calls']} made, up to {most} are paid again{surely}."
    )
    view.warn(
        f"The whole run takes about {between(whole['calls'])} calls and {cost}. "
        f"The {spent['calls']} calls and {paid} spent so far stay counted against its caps."
    )
    return not (ask and sys.stdin.isatty()) or typer.confirm("Go on?", err=True)
