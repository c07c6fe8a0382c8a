"""How the commands of the client reach their server, and which job is meant."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.foundation.errors import NotFound, UsageError

if TYPE_CHECKING:
    from skill_fleet.client.client import Client

Server = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The service; default: SKILL_FLEET_SERVER, else http://127.0.0.1:8000."),
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name or its beginning, or latest.")]

_WHOLE = re.compile(r"\d{8}-\d{6}-[0-9a-f]{10}")
_LOOKED_AT = 1000


@contextmanager
def served(server: str | None) -> "Iterator[Client]":
    """A client of the service; its key is in the environment, never in a command line, which others can read.

    Args:
        server: Its address; None is the environment's, else this machine's.

    Raises:
        UsageError: The address is none, also where it is empty.
    """
    from skill_fleet.client.client import DEFAULT_URL, Client
    from skill_fleet.config.load import API_KEY, SERVER, environment
    from skill_fleet.llm.providers.keys import key_in

    environ = environment()
    url = environ.get(SERVER, "").strip() or DEFAULT_URL if server is None else server.strip()
    with Client(url, key_in(API_KEY, environ) or None) as client:
        yield client


def job_named(client: "Client", name: str) -> str:
    """The whole name of a job.

    Args:
        client: Of the service.
        name: As given; its beginning, or `latest`.

    Raises:
        NotFound: There is none.
        UsageError: Several begin like this.
    """
    if _WHOLE.fullmatch(name):
        return name
    if name == "latest":
        newest = client.jobs(limit=1).jobs
        if not newest:
            raise NotFound("There is no job yet.", hint="Start one: skill-fleet jobs start")
        return newest[0].job_id
    near = [job.job_id for job in islice(client.all_jobs(), _LOOKED_AT) if job.job_id.startswith(name)]
    if not near:
        raise NotFound(f"There is no job '{name}'.", hint="See: skill-fleet jobs list.")
    if len(near) > 1:
        raise UsageError(f"{len(near)} jobs begin with '{name}'.", hint=f"For example {near[0]}, {near[1]}.")
    return near[0]
