"""`optimizers`."""

import typer

from skill_fleet.cli.options import Json, Quiet, opened, screen


def optimizers(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the optimizers: what each needs, costs and takes."""
    from skill_fleet.cli.show_catalog import shown_optimizers
    from skill_fleet.services.catalog import list_broken_optimizers, list_optimizers

    value = {"optimizers": list_optimizers(opened(ctx)), "unusable": list_broken_optimizers()}
    view = screen(as_json=as_json, quiet=quiet)
    view.data(value, lambda found: shown_optimizers(found["optimizers"]))
    for broken in value["unusable"]:
        view.warn(f"warning: {broken['problem']}")
