"""The journal: where it is, how full, and clearing the answers."""

from contextlib import closing
from typing import Any

from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.optimization.records.runs import unfinished
from skill_fleet.services.context import Context
from skill_fleet.services.job_runs import UNFINISHED, job_statuses

# More jobs than these need not be named one by one.
_NAMED = 100


def cache_paths(context: Context) -> dict[str, str]:
    """Where the answers and the ledger are; the second is what was paid and is never cleared."""
    if context.loaded.database is None:
        return {"responses": str(context.workspace.responses), "ledger": str(context.workspace.ledger)}
    from skill_fleet.llm.journal.database_engine import place_of, postgres_engine

    place = place_of(postgres_engine(context.loaded.database))
    return {"responses": place, "ledger": place}


def cache_stats(context: Context) -> dict[str, Any]:
    """How many answers are stored, their size in bytes, and the attempts in the ledger.

    Raises:
        StorageError: The journal cannot be read.
    """
    needed = _needed_by(context)
    if not _is_there(context):
        empty = {"responses": 0, "bytes": 0, "attempts": 0}
        return {**cache_paths(context), "stats": empty, "needed_by": needed}
    with closing(open_journal(context.loaded, context.clock)) as journal:
        return {**cache_paths(context), "stats": journal.stats(), "needed_by": needed}


def clear_cache(context: Context, *, force: bool) -> dict[str, Any]:
    """Forget every stored answer; the ledger stays as it is.

    Raises:
        DataError: An unfinished run or job needs them, and there is no force.
        StorageError: The journal cannot be written.
    """
    needed = _needed_by(context)
    if needed and not force:
        more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
        raise DataError(
            f"The unfinished run {needed[0]}{more} needs the stored answers: they would be paid again.",
            hint="Finish it (skill-fleet runs resume; a job: skill-fleet jobs resume), or use --force.",
            code="needed",
        )
    if context.loaded.database is None and not context.workspace.responses.exists():
        return {"removed": 0, **cache_paths(context)}
    with closing(open_journal(context.loaded, context.clock)) as journal:
        return {"removed": journal.clear_responses(), **cache_paths(context)}


def _is_there(context: Context) -> bool:
    place = context.workspace
    return context.loaded.database is not None or place.responses.exists() or place.ledger.exists()


def _needed_by(context: Context) -> list[str]:
    """Who will ask for stored answers again: the unfinished runs here, and the jobs of all workers."""
    left = unfinished(context.workspace.runs)
    statuses = job_statuses(context, left)
    # What nobody can tell of is needed.
    here = {run.run_id for run in left if statuses.get(run.run_id, "running") in UNFINISHED or not run.is_job}
    return sorted(here if context.loaded.database is None else {*here, *_jobs(context)}, reverse=True)


def _jobs(context: Context) -> list[str]:
    """The unfinished jobs of a service with a database; where it has no tables yet, there are none."""
    from skill_fleet.jobs.database import open_database
    from skill_fleet.jobs.migrate import HEAD, revision
    from skill_fleet.jobs.store import JobStore
    from skill_fleet.llm.journal.database_engine import wrong_revision

    with closing(open_database(context.workspace, context.loaded.database)) as database:
        found = revision(database)
        if found is None:
            return []
        if found != HEAD:
            raise wrong_revision(database.place, found)
        waiting = JobStore(database).page(statuses=UNFINISHED, limit=_NAMED)
    return [job.job_id for job in waiting]
