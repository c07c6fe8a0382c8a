"""What `serve`, `worker` and `keys` have in common: which database, and the service's context."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.options import globals_of

if TYPE_CHECKING:
    from skill_fleet.cli.screen import Screen
    from skill_fleet.services.context import Context
    from skill_fleet.services.service import Service

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="PostgreSQL; better in SKILL_FLEET_DATABASE_URL. Default: files in the workspace."
    ),
]
JobsAtOnce = Annotated[int | None, typer.Option(min=1, metavar="N", help="Jobs that run at a time.")]


def service_context(ctx: typer.Context, database_url: str | None, view: "Screen", **flags: Any) -> "Context":
    """The context of the service.

    Args:
        ctx: The command.
        database_url: Of the command line; None reads the environment.
        view: Told that a password in a command line is everybody's.
        **flags: `section__key` -> value; None values are not set.

    Raises:
        ConfigError: A setting or the address is wrong.
    """
    from skill_fleet.config.load import DATABASE_URL, environment
    from skill_fleet.services.context import open_context

    environ = environment()
    if database_url is not None:
        view.warn(
            f"All users of this machine see --database-url in the list of processes; {DATABASE_URL} is safer."
        )
        environ[DATABASE_URL] = database_url
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return open_context(globals_of(ctx).workspace, flags=dotted, environ=environ)


@contextmanager
def service_of(ctx: typer.Context, database_url: str | None, view: "Screen") -> "Iterator[Service]":
    """The service, opened for one command."""
    from skill_fleet.services.service import open_service

    service = open_service(service_context(ctx, database_url, view))
    try:
        yield service
    finally:
        service.close()
