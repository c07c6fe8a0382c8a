"""`doctor`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, Quiet, globals_of, screen


def doctor(
    ctx: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider.")] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Look at every registered model, not only those that phases use.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say what is wrong here, and what to do.

    Asks the configured providers for their lists of models, which costs nothing; never makes a paid call.
    Exit code 1 when something will not work.
    """
    from skill_fleet.cli.show_catalog import shown_checks
    from skill_fleet.services.doctor import check_json, examine

    found = [check_json(check) for check in examine(globals_of(ctx).workspace, offline=offline, every=every)]
    view = screen(as_json=as_json, quiet=quiet)
    healthy = all(check["status"] != "error" for check in found)
    view.data({"healthy": healthy, "checks": found}, lambda value: shown_checks(value["checks"]))
    return 0 if healthy else 1
