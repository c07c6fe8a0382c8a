"""`create-skill`."""

from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps, Drafting
from skill_fleet.cli.options import (
    Force,
    Json,
    Model,
    ProgramFile,
    Quiet,
    Task,
    opened,
    screen,
)

if TYPE_CHECKING:
    from skill_fleet.cli.screen import Screen
    from skill_fleet.services.context import Context
    from skill_fleet.services.creation import CreationRequest


@grouped
def create_skill(
    ctx: typer.Context,
    task: Task,
    program: ProgramFile = None,
    drafting: Drafting = Drafting(),
    model: Model = None,
    output: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write DIR/<name>/SKILL.md; default: into skills/.")
    ] = None,
    force: Force = False,
    caps: Caps = Caps(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a skill that meets the specification.

    Without --output it goes to its place in the workspace's library. A skill that is there is never
    overwritten without --force.
    """
    from skill_fleet.services.creation import CreationRequest
    from skill_fleet.services.optimization import limits_of

    context = opened(ctx, caps.settings())
    request = CreationRequest(
        task,
        program,
        model=model,
        output=output,
        force=force,
        limits=limits_of(context.settings),
        **drafting.given(),
    )
    return _created(context, request, screen(as_json=as_json, quiet=quiet))


def _created(context: "Context", request: "CreationRequest", view: "Screen") -> int:
    from skill_fleet.cli.job_screens import creation_code
    from skill_fleet.cli.page import shows_pages
    from skill_fleet.cli.running import read, worked
    from skill_fleet.cli.show_skills import shown_creation
    from skill_fleet.services.creation import create_skill as create

    if shows_pages(view):
        value = read(
            view,
            lambda control, page: create(
                context, request, control=control, on_draft=page.drafted, reader=page
            ),
        )
    else:
        value = worked(
            view,
            "Writing",
            lambda control, drafted: create(context, request, control=control, on_draft=drafted),
        )
    view.data(value, shown_creation)
    return creation_code(value, view)
