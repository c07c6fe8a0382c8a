"""`config show`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, Quiet, opened, screen


def show(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value is from.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the settings in force, without secrets."""
    from skill_fleet.cli.show_catalog import shown_settings
    from skill_fleet.services.configuration import show_settings

    found = show_settings(opened(ctx))
    view = screen(as_json=as_json, quiet=quiet)
    value = {one["key"]: {"value": one["value"], "origin": one["origin"]} for one in found}
    plain = {one["key"]: one["value"] for one in found}
    view.data(value if origin else plain, lambda _value: shown_settings(found, origin=origin))
