"""The journal: where it is, how full, and clearing the answers."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.optimization.records.runs import unfinished
from skill_fleet.services.context import Context
from skill_fleet.services.job_runs import UNFINISHED, job_statuses

if TYPE_CHECKING:
    from skill_fleet.jobs.store import JobStore

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

    `of_removed_jobs` has the answers, and their bytes, that only jobs made calls for that were removed since.

    Raises:
        StorageError: The journal cannot be read.
    """
    needed = _needed_by(context)
    if not _is_there(context):
        empty = {"responses": 0, "bytes": 0, "attempts": 0}
        none = {"responses": 0, "bytes": 0}
        return {**cache_paths(context), "stats": empty, "of_removed_jobs": none, "needed_by": needed}
    removed = _removed_jobs(context)
    with closing(open_journal(context.loaded, context.clock)) as journal:
        theirs = journal.paid_only_by(removed) if removed else {"responses": 0, "bytes": 0}
        found = {"stats": journal.stats(), "of_removed_jobs": theirs}
    return {**cache_paths(context), **found, "needed_by": needed}


def clear_cache(context: Context, *, force: bool, removed_jobs: bool = False) -> dict[str, Any]:
    """Forget stored answers; the ledger stays as it is.

    Args:
        context: Settings and workspace.
        force: Also what an unfinished run or job needs.
        removed_jobs: Only answers that no one but jobs that were removed since made calls for.

    Raises:
        DataError: An unfinished run or job needs them, or may have taken them over, and there is no force.
        StorageError: The journal cannot be written.
    """
    needed = _needed_by(context)
    if needed and not force:
        raise _needed(needed)
    if context.loaded.database is None and not context.workspace.responses.exists():
        return {"removed": 0, **cache_paths(context)}
    only_by = _removed_jobs(context) if removed_jobs else None
    with closing(open_journal(context.loaded, context.clock)) as journal:
        return {"removed": journal.clear_responses(only_by), **cache_paths(context)}


def _needed(needed: Sequence[str]) -> DataError:
    more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
    return DataError(
        f"The unfinished run {needed[0]}{more} needs the stored answers: they would be paid again.",
        hint="Finish it (skill-fleet runs resume; a job: skill-fleet jobs resume), or use --force.",
        code="needed",
    )


def _is_there(context: Context) -> bool:
    place = context.workspace
    return context.loaded.database is not None or place.responses.exists() or place.ledger.exists()


def _needed_by(context: Context) -> list[str]:
    """Who will ask for stored answers again: the unfinished runs here, and the jobs of all workers."""
    left = unfinished(context.workspace.runs)
    statuses = job_statuses(context, left)
    # What nobody can tell of is needed.
    here = {run.run_id for run in left if statuses.get(run.run_id, "running") in UNFINISHED or not run.is_job}
    return sorted({*here, *_unfinished_jobs(context)}, reverse=True)


def _unfinished_jobs(context: Context) -> list[str]:
    with _jobs(context) as store:
        return [] if store is None else store.unfinished(_NAMED)


def _removed_jobs(context: Context) -> list[str]:
    with _jobs(context) as store:
        return [] if store is None else store.removed()


@contextmanager
def _jobs(context: Context) -> "Iterator[JobStore | None]":
    """The jobs of the service; None where it was never started here, or has no tables yet.

    Raises:
        StorageError: They cannot be read, or are of another version.
    """
    url = context.loaded.database
    if url is None and not (context.workspace.service / "jobs.sqlite").exists():
        yield None
        return
    from skill_fleet.jobs.database import open_database
    from skill_fleet.jobs.migrate import HEAD, revision
    from skill_fleet.jobs.store import JobStore
    from skill_fleet.llm.journal.database_engine import wrong_revision

    with closing(open_database(context.workspace, url)) as database:
        found = revision(database)
        # The embedded tables are brought up to date by the service; what is asked here, older ones have too.
        usable = found is None or found == HEAD or (database.is_sqlite and found < HEAD)
        if not usable:
            raise wrong_revision(database.place, str(found))
        yield None if found is None else JobStore(database)
