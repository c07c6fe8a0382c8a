"""`create-skill`."""

from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.options import (
    Force,
    Json,
    MaxCalls,
    MaxCost,
    MaxMinutes,
    Model,
    ProgramFile,
    Quiet,
    opened,
    screen,
)

if TYPE_CHECKING:
    from skill_fleet.cli.screen import Screen
    from skill_fleet.services.context import Context
    from skill_fleet.services.creation import CreationRequest


def create_skill(
    ctx: typer.Context,
    task: Annotated[str, typer.Option(metavar="TEXT", help="What an agent should be able to do.")],
    program: ProgramFile = None,
    best_of: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Drafts; the best is kept.")] = 1,
    refine: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Drafts, each with advice on the one before.")
    ] = 1,
    model: Model = None,
    output: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write DIR/<name>/SKILL.md; default: into skills/.")
    ] = None,
    force: Force = False,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a skill that meets the specification.

    Without --output it goes to its place in the workspace's library. A skill that is there is never
    overwritten without --force.
    """
    from skill_fleet.services.creation import CreationRequest
    from skill_fleet.services.optimization import limits_of

    context = opened(
        ctx, budget__max_cost=max_cost, budget__max_calls=max_calls, budget__max_minutes=max_minutes
    )
    limits = limits_of(context.settings)
    request = CreationRequest(task, program, best_of, model, output, force, limits, refine)
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
