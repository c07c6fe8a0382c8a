"""`serve`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, Quiet
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.serving import DatabaseUrl, JobsAtOnce, service_context


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where to listen.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one.")
    ] = None,
    database_url: DatabaseUrl = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave the jobs to other workers.")] = False,
    jobs_at_once: JobsAtOnce = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve the REST API and run its jobs, until Ctrl-C.

    Jobs survive that, and everything else: whoever is a worker next goes on with them. With --json the line
    that says where it listens is a JSON object. An address that other machines reach asks for a key.
    """
    from skill_fleet.server import serve as run

    view = Screen(as_json=as_json, quiet=quiet)
    context = service_context(
        ctx, database_url, view, server__host=host, server__port=port, server__jobs_at_once=jobs_at_once
    )
    run(context, worker=not no_worker, as_json=as_json, log_level="error" if quiet else "warning")
