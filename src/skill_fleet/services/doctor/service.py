"""The service's database and workers, where there is one: nothing is made here."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.services.context import Context
from skill_fleet.services.doctor.check import Check, Status
from skill_fleet.services.doctor.clocks import clock_check

if TYPE_CHECKING:
    from skill_fleet.jobs.connection import Database
    from skill_fleet.jobs.worker_store import WorkerStore


def service(context: Context) -> Iterator[Check]:
    """Whether the database is there, with tables of this version, and a worker looks at it."""
    url = context.loaded.database
    if url is None and not (context.workspace.service / "jobs.sqlite").exists():
        return
    from skill_fleet.jobs.database import open_database
    from skill_fleet.jobs.migrate import HEAD, revision
    from skill_fleet.jobs.worker_store import WorkerStore
    from skill_fleet.llm.journal.database_engine import wrong_revision

    try:
        with closing(open_database(context.workspace, url)) as database:
            found = revision(database)
            if found is None:
                hint = "They are made by: skill-fleet serve, or worker."
                yield Check("database", "warning", f"{database.place} has no tables yet.", hint)
                return
            if found != HEAD:
                wrong = wrong_revision(database.place, found)
                status: Status = "error" if wrong.code == "new_tables" else "warning"
                yield Check("database", status, wrong.message, wrong.hint)
                return
            yield Check("database", "ok", f"{database.place}: reachable, its tables are of this version.")
            yield from _clock(context, database)
            yield _workers(context, WorkerStore(database))
    except SkillFleetError as error:
        yield Check("database", "error", error.message, error.hint)


def _clock(context: Context, database: "Database") -> Iterator[Check]:
    """Of a database on another machine: jobs are dated by it."""
    if database.is_sqlite:
        return
    import sqlalchemy as sa

    from skill_fleet.jobs.tables import database_now

    there = float(database.read(lambda db: db.execute(sa.select(database_now())).scalar_one()))
    found = clock_check("the database", there, context.clock.now())
    if found is not None:
        yield found


def _workers(context: Context, store: "WorkerStore") -> Check:
    expiry = context.settings.server.heartbeat_seconds
    hopeful = [worker for worker in store.list() if worker.state == "alive"]
    silent = {worker: store.silent_for(worker.worker_id) for worker in hopeful}
    alive = [worker for worker, age in silent.items() if age is not None and age <= expiry]
    if not alive:
        return Check("workers", "warning", "None is alive: jobs wait.", "skill-fleet serve, or worker.")
    hosts = ", ".join(sorted({worker.host for worker in alive}))
    return Check("workers", "ok", f"{len(alive)} alive, on {hosts}.")
