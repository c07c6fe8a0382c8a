"""What the commands of jobs share: their options, and how they say how a job stands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.job_screens import Caller
from skill_fleet.cli.options import globals_of
from skill_fleet.cli.served import served
from skill_fleet.foundation.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from skill_fleet.cli.screen import Screen
    from skill_fleet.client.client import Client
    from skill_fleet.client.records import Job, Started

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it is over.")]


@dataclass(frozen=True)
class Enqueue:
    """How a job is put into the queue, whatever it is to do."""

    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Kept with the job; repeatable.")
    ] = None
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key and request are the same job.")
    ] = None
    watch: Watch = False


def enqueued(
    ctx: typer.Context,
    server: str | None,
    view: "Screen",
    how: Enqueue,
    start: "Callable[[Client], Started]",
) -> int:
    """Start a job, and watch it or say how it stands.

    Returns:
        The exit code, as of `told`.
    """
    with served(server) as client:
        job_id = start(client).job_id
        view.note(f"Job {job_id} is in the queue of {client.url}.")
        return told(ctx, client, job_id, view, server, watch=how.watch)


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
