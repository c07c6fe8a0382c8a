"""`jobs result`, `jobs report`, `jobs logs`, `jobs delete`: what is there of a job, and its end."""

from typing import Annotated

import typer

from skill_fleet.cli.job_screens import Caller
from skill_fleet.cli.options import Json, Quiet, globals_of, screen
from skill_fleet.cli.served import JobName, Server, job_named, served
from skill_fleet.foundation.errors import StateConflict


def result(
    ctx: typer.Context,
    job: JobName = "latest",
    server: Server = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what came of a job.

    Of one that was stopped or cancelled, that is the best so far.
    """
    from skill_fleet.cli.job_screens import shown_outcome

    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        found = client.status(job_named(client, job))
        value = client.result(found.job_id)
        taken = [event for event in client.events_so_far(found.job_id) if event.kind == "taken_up"]
    worker = taken[-1].data.get("worker") if taken else None
    view.data(value, shown_outcome(found, value, worker, Caller(globals_of(ctx), server)))


def report(
    job: JobName = "latest", server: Server = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Print the report of a job, in Markdown."""
    from skill_fleet.cli.plain import plain

    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        name = job_named(client, job)
        text = client.report(name)
    if as_json:
        view.lines([{"job_id": name, "report": text}])
    else:
        view.out.write(plain(text))
        view.out.flush()


def logs(
    job: JobName = "latest",
    server: Server = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only events after this number.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print what happened to a job, in order. With --json one line an event."""
    from dataclasses import asdict

    from skill_fleet.cli.show_jobs import logged

    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        name = job_named(client, job)
        events = client.events if follow else client.events_so_far
        for event in events(name, after=after):
            if as_json:
                view.lines([asdict(event)])
            else:
                view.out.write(f"{logged(event.at, event.kind, event.data)}\n")
                view.out.flush()


def delete(
    job: JobName,
    server: Server = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for a job that has to be cancelled first.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove a job, with its events and its result.

    One that is not over is cancelled first. What it published stays. Exit code 0 says that the job is gone.
    """
    from skill_fleet.cli.tables import words

    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        name = job_named(client, job)
        removed = client.delete(name)
        if not removed and not no_wait:
            view.note(f"Job {name} is being cancelled; it is removed when it has stopped.")
            client.wait(name)
            removed = client.delete(name)
    if not removed:
        raise StateConflict(
            f"Job {name} is being cancelled.", hint="When that has happened, delete it again."
        )
    view.data({"job_id": name, "status": "removed"}, lambda _value: words(f"Job {name} is removed."))
