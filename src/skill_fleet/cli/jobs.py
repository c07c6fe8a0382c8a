"""`jobs list`, `start`, `status`, `watch`, `cancel`, `pause`, `resume`: a service's jobs, from a terminal."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.job_told import Enqueue, Watch, enqueued, metadata_of, show, told
from skill_fleet.cli.option_groups import Caps, PhaseModels, Search
from skill_fleet.cli.options import (
    Json,
    Module,
    Quiet,
    screen,
)
from skill_fleet.cli.served import JobName, Server, job_named, served
from skill_fleet.foundation.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from skill_fleet.cli.screen import Screen
    from skill_fleet.client import records as client_records
    from skill_fleet.client.client import Client
    from skill_fleet.client.records import Job, Optimization

Status = StrEnum("Status", ["queued", "running", "paused", "succeeded", "stopped", "failed", "cancelled"])
Kind = Literal["optimization", "creation"]


def list_(
    server: Server = None,
    status: Annotated[
        list[Status] | None, typer.Option(metavar="STATUS", help="Only these; repeatable.")
    ] = None,
    kind: Annotated[Kind | None, typer.Option(help="Only this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The newest so many.")] = 20,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the service's jobs, newest first. With --json one line a job."""
    from itertools import islice

    from skill_fleet.cli.show_jobs import shown_jobs

    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        wanted = cast("list[client_records.Status]", [one.value for one in status or ()])
        found = list(islice(client.all_jobs(statuses=wanted, kind=kind), limit))
    if as_json:
        view.lines(job.document for job in found)
    elif found:
        view.data(found, shown_jobs)
    else:
        view.note("There is no such job. Start one: skill-fleet jobs start")


@grouped
def start(
    ctx: typer.Context,
    server: Server = None,
    training_path: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Gold skills of the server's library; a folder is all below it."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--training-data", "--data", metavar="FILE", help="Training set, sent with the request."
        ),
    ] = None,
    search: Search = Search(),
    module: Module = None,
    models: PhaseModels = PhaseModels(),
    caps: Caps = Caps(),
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where below config/optimized to publish the program.")
    ] = None,
    how: Enqueue = Enqueue(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Put an optimization into the service's queue.

    It is checked in full before that. Models are those that the server has registered. What is not
    given is as the server's configuration says.
    """
    asked: dict[str, Any] = {
        **search.body(),
        "training_paths": training_path or None,
        "trainset": None if data is None else _items(data),
        "save_path": output,
        "modules": module or None,
        "models": models.by_phase() or None,
        "budget": caps.body(),
        "metadata": metadata_of(how.metadata),
    }
    body = cast("Optimization", {name: value for name, value in asked.items() if value is not None})
    view = screen(as_json=as_json, quiet=quiet)
    return enqueued(
        ctx, server, view, how, lambda client: client.start(idempotency_key=how.idempotency_key, **body)
    )


def status(
    job: JobName = "latest", server: Server = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Say how a job stands."""
    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        show(client.status(job_named(client, job)), view)


def watch(
    ctx: typer.Context,
    job: JobName = "latest",
    server: Server = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Watch a job until it is over or paused; show its result.

    Exit codes are those of optimize. Ctrl-C ends the watching, not the job. A server that is away is tried
    again for five minutes.
    """
    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        return told(ctx, client, job_named(client, job), view, server, watch=True)


def cancel(
    ctx: typer.Context,
    job: JobName,
    server: Server = None,
    watch: Watch = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Stop a job for good; the best so far is kept.

    Model calls under way end; no new one is made.
    """
    return _asked(
        ctx,
        job,
        server,
        lambda client, name: client.cancel(name),
        screen(as_json=as_json, quiet=quiet),
        watch=watch,
    )


def pause(
    ctx: typer.Context,
    job: JobName,
    server: Server = None,
    watch: Watch = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Stop a job until it is resumed."""
    return _asked(
        ctx,
        job,
        server,
        lambda client, name: client.pause(name),
        screen(as_json=as_json, quiet=quiet),
        watch=watch,
    )


@grouped
def resume(
    ctx: typer.Context,
    job: JobName,
    server: Server = None,
    caps: Caps = Caps(),
    watch: Watch = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a job that is paused or was stopped. No finished model call is repeated or paid again.

    Caps are those it had, unless given here; they count over the whole job.
    """
    return _asked(
        ctx,
        job,
        server,
        lambda client, name: client.resume(name, budget=caps.body()),
        screen(as_json=as_json, quiet=quiet),
        watch=watch,
    )


def _asked(
    ctx: typer.Context,
    job: str,
    server: str | None,
    verb: "Callable[[Client, str], Job]",
    view: "Screen",
    *,
    watch: bool,
) -> int:
    """Ask something of a job, and say how it stands then."""
    with served(server) as client:
        found = verb(client, job_named(client, job))
        if watch:
            return told(ctx, client, found.job_id, view, server, watch=True)
        show(found, view)
        return 0


def _items(data: str) -> list[dict[str, Any]]:
    from pathlib import Path

    from skill_fleet.foundation.files import read_json

    found = read_json(Path(data).expanduser(), what="training set")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise DataError(f"The training set {data} is not a list of objects.")
    return found
