"""`jobs create-skill`."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.job_told import Enqueue, enqueued, metadata_of
from skill_fleet.cli.option_groups import Caps, Drafting
from skill_fleet.cli.options import Force, Json, Quiet, Task, screen
from skill_fleet.cli.served import Server

if TYPE_CHECKING:
    from skill_fleet.client.records import Creation


@grouped
def create_skill(
    ctx: typer.Context,
    task: Task,
    server: Server = None,
    program: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="An optimized program below the server's config/optimized."),
    ] = None,
    drafting: Drafting = Drafting(),
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that the server has registered.")
    ] = None,
    force: Force = False,
    caps: Caps = Caps(),
    how: Enqueue = Enqueue(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Have the service write a skill into its library.

    What is asked is checked in full before it is put into the queue.
    """
    asked: dict[str, Any] = {
        "program": program,
        **drafting.given(),
        "model": model,
        "force": force or None,
        "budget": caps.body(),
        "metadata": metadata_of(how.metadata),
    }
    body = cast("Creation", {name: value for name, value in asked.items() if value is not None})
    view = screen(as_json=as_json, quiet=quiet)
    return enqueued(
        ctx,
        server,
        view,
        how,
        lambda client: client.create_skill(task, idempotency_key=how.idempotency_key, **body),
    )
