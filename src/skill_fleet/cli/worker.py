"""`worker`."""

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

import typer

from skill_fleet.cli.options import Json, Quiet, screen
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.serving import DatabaseUrl, JobsAtOnce, service_context
from skill_fleet.cli.tables import words

if TYPE_CHECKING:
    from skill_fleet.jobs.database import Database
    from skill_fleet.services.context import Context

_GLANCE = 0.5
_STOP_SECONDS = 4.0


def worker(
    ctx: typer.Context,
    database_url: DatabaseUrl = None,
    jobs_at_once: JobsAtOnce = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a service's jobs without a server, until Ctrl-C.

    Then what runs is handed back to the queue.

    As many workers on as many machines as you like against one PostgreSQL; on files of a workspace there is
    one. Each needs the same configuration, library and keys of models.
    """
    from skill_fleet.jobs.database import open_database, prepare_database

    view = screen(as_json=as_json, quiet=quiet)
    context = service_context(ctx, database_url, view, server__jobs_at_once=jobs_at_once)
    database = open_database(context.workspace, context.loaded.database)
    try:
        prepare_database(database)
        _worked(context, database, view)
    finally:
        database.close()


def _worked(context: "Context", database: "Database", view: Screen) -> None:
    """Work until a signal says stop.

    Raises:
        StorageError: Another process is this workspace's worker, or the database cannot be used.
    """
    from skill_fleet.services.working import start_worker

    stop = threading.Event()

    def asked(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        working = start_worker(context, database)
        try:
            jobs = context.settings.server.jobs_at_once
            value = {"worker": working.worker_id, "place": database.place, "jobs_at_once": jobs}
            told = f"Worker {working.worker_id}, up to {jobs} jobs at a time. {database.place}."
            view.data(value, lambda _value: words(told))
            while working.alive and not stop.wait(_GLANCE):
                pass
        finally:
            view.note("Stopping: jobs under way are handed back.")
            working.stop(_STOP_SECONDS)
        if working.failed is not None:
            raise working.failed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
