"""`jobs list`, `start`, `status`, `watch`, `cancel`, `pause`, `resume`: a service's jobs, from a terminal."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from skill_fleet.cli.job_told import IdempotencyKey, Metadata, Watch, budget_of, metadata_of, show, told
from skill_fleet.cli.options import (
    Json,
    MaxCalls,
    MaxCost,
    MaxMinutes,
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

Auto = Literal["light", "medium", "heavy"]
Prefer = Literal["quality", "cheaper"]
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
    """The service's jobs, newest first. With --json one line a job."""
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
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME|auto", help="See: skill-fleet optimizers.")
    ] = None,
    auto: Annotated[Auto | None, typer.Option(help="How far to search.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of --auto, the optimizer's own measure.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most rounds.")] = None,
    max_bootstrapped_demos: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Demonstrations the program makes.")
    ] = None,
    max_labeled_demos: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Demonstrations taken from the data.")
    ] = None,
    num_threads: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Examples under way at a time.")
    ] = None,
    module: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this predictor; repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that runs the program being optimized.")
    ] = None,
    profiling_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that makes demonstrations.")
    ] = None,
    optimization_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that proposes instructions.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model that scores.")] = None,
    min_groups: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Fewest independent groups to split.")
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="K-fold on all data instead of a sealed test.")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, metavar="R", help="How often the folds are dealt.")
    ] = None,
    prefer: Annotated[
        Prefer | None, typer.Option(help="cheaper: of programs about as good the cheapest.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the split and the search.")] = None,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    output: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where below config/optimized to publish the program.")
    ] = None,
    metadata: Metadata = None,
    idempotency_key: IdempotencyKey = None,
    watch: Watch = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Put an optimization into the service's queue; checked in full before that.

    Models are those that the server has registered. What is not given is as the server's configuration says.
    """
    models = {
        "evaluation": model,
        "profiling": profiling_model,
        "optimization": optimization_model,
        "judge": judge_model,
    }
    asked: dict[str, Any] = {
        "optimizer": optimizer,
        "training_paths": training_path or None,
        "trainset": None if data is None else _items(data),
        "auto": auto,
        "trials": trials,
        "rounds": rounds,
        "max_bootstrapped_demos": max_bootstrapped_demos,
        "max_labeled_demos": max_labeled_demos,
        "save_path": output,
        "seed": seed,
        "num_threads": num_threads,
        "prefer": prefer,
        "min_groups": min_groups,
        "folds": folds,
        "repeats": repeats,
        "modules": module or None,
        "models": {phase: name for phase, name in models.items() if name is not None} or None,
        "budget": budget_of(max_cost, max_calls, max_minutes),
        "metadata": metadata_of(metadata),
    }
    body = cast("Optimization", {name: value for name, value in asked.items() if value is not None})
    view = screen(as_json=as_json, quiet=quiet)
    with served(server) as client:
        job_id = client.start(idempotency_key=idempotency_key, **body).job_id
        view.note(f"Job {job_id} is in the queue of {client.url}.")
        return told(ctx, client, job_id, view, server, watch=watch)


def status(
    job: JobName = "latest", server: Server = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """How a job stands."""
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
    """Watch a job until it is over or paused, and show its result; exit codes are those of optimize.

    Ctrl-C ends the watching, not the job. A server that is away is tried again for five minutes.
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
    """Stop a job for good: no new model call is made, and the best so far is kept."""
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


def resume(
    ctx: typer.Context,
    job: JobName,
    server: Server = None,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    watch: Watch = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a job that is paused or was stopped. No finished model call is repeated or paid again.

    Caps are those it had, unless given here; they count over the whole job.
    """
    budget = budget_of(max_cost, max_calls, max_minutes)
    return _asked(
        ctx,
        job,
        server,
        lambda client, name: client.resume(name, budget=budget),
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
