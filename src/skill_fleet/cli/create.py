"""`create-skill`."""

from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.options import (
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


def create_skill(  # noqa: PLR0913, PLR0917 - the contract's options, one a parameter
    ctx: typer.Context,
    task: Annotated[str, typer.Option(metavar="TEXT", help="What an agent should be able to do.")],
    program: ProgramFile = None,
    best_of: Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Drafts; the best is kept.")] = 1,
    model: Model = None,
    output: Annotated[
        str | None, typer.Option(metavar="DIR", help="Write DIR/<name>/SKILL.md; default: into skills/.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a skill that is there.")] = False,
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
    request = CreationRequest(task, program, best_of, model, output, force, limits)
    return _created(context, request, screen(as_json=as_json, quiet=quiet))


def _created(context: "Context", request: "CreationRequest", view: "Screen") -> int:
    from skill_fleet.cli.running import hush_dspy, restore
    from skill_fleet.cli.show_skills import shown_creation
    from skill_fleet.cli.waiting import waited
    from skill_fleet.foundation.errors import BudgetExhausted
    from skill_fleet.optimization.session import Control
    from skill_fleet.services.creation import create_skill as create

    hush_dspy(view)
    control = Control()

    def stop() -> None:
        control.interrupt()
        view.warn("Stopping: the call under way ends first. Ctrl-C again to stop at once.")

    def tell(number: int, of: int) -> None:
        view.note("Writing the skill …" if of == 1 else f"Draft {number} of {of} …")

    value = waited(
        lambda: create(context, request, control=control, on_draft=tell),
        on_first=stop,
        on_second=lambda: restore(view),
    )
    view.data(value, shown_creation(value))
    if value["error"] is None:
        return 0
    view.warn(f"error: {value['error']['message']} The best of {len(value['drafts'])} drafts was kept.")
    return BudgetExhausted.exit_code if value["error"]["code"] == "budget" else 1
