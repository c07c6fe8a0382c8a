"""What the commands of jobs share: their options, and how they say how a job stands."""

from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.job_screens import Caller
from skill_fleet.cli.options import globals_of
from skill_fleet.foundation.errors import UsageError

if TYPE_CHECKING:
    from skill_fleet.cli.screen import Screen
    from skill_fleet.client.client import Client
    from skill_fleet.client.records import Job

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it is over.")]
Metadata = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Kept with the job; repeatable.")
]
IdempotencyKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="The same key and request are the same job.")
]


def told(
    ctx: typer.Context, client: "Client", job_id: str, view: "Screen", server: str | None, *, watch: bool
) -> int:
    """Watch a job, or say how it stands and how to watch it.

    Returns:
        The exit code: of what came of it where it was watched, else 0.
    """
    from skill_fleet.cli.following import followed

    caller = Caller(globals_of(ctx), server)
    if watch:
        return followed(client, job_id, view, caller)
    view.note(f"To watch it: {caller.command(f'jobs watch {job_id}')}")
    show(client.status(job_id), view)
    return 0


def show(job: "Job", view: "Screen") -> None:
    """How a job stands; as JSON it is what the server has sent."""
    from skill_fleet.cli.show_jobs import shown_job

    view.data(job.document if view.as_json else job, shown_job)


def metadata_of(pairs: list[str] | None) -> dict[str, str] | None:
    """What is to be kept with a job; None where that is nothing.

    Raises:
        UsageError: A pair is none.
    """
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise UsageError(f"--metadata {pair!r} is not of the form NAME=VALUE.")
        found[name] = value
    return found or None
