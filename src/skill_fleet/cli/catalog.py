"""`optimizers` and `models`."""

import typer

from skill_fleet.cli.options import Json, Quiet, opened, screen


def optimizers(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """The optimizers there are."""
    from skill_fleet.cli.show_catalog import shown_optimizers
    from skill_fleet.services.catalog import list_optimizers

    value = list_optimizers(opened(ctx))
    view = screen(as_json=as_json, quiet=quiet)
    view.data({"optimizers": value}, lambda found: shown_optimizers(found["optimizers"]))


def models(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """The models that are registered, and what uses them."""
    from skill_fleet.cli.show_catalog import shown_models
    from skill_fleet.services.catalog import list_models

    value = list_models(opened(ctx))
    view = screen(as_json=as_json, quiet=quiet)
    view.data({"models": value}, lambda found: shown_models(found["models"]))
