"""`doctor`."""

import typer

from skill_fleet.cli.options import Json, Quiet, globals_of, screen


def doctor(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> int:
    """Say what is wrong here, and what to do.

    Looks at this machine only. Exit code 1 when something will not work.
    """
    from skill_fleet.cli.show_catalog import shown_checks
    from skill_fleet.services.doctor import check_json, examine

    found = [check_json(check) for check in examine(globals_of(ctx).workspace)]
    view = screen(as_json=as_json, quiet=quiet)
    healthy = all(check["status"] != "error" for check in found)
    view.data({"healthy": healthy, "checks": found}, lambda value: shown_checks(value["checks"]))
    return 0 if healthy else 1
