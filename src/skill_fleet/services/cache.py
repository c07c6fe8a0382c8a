"""The journal's two files: where they are, how full, and clearing the answers."""

from contextlib import closing
from typing import Any

from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.journal import Journal
from skill_fleet.optimization.runs import unfinished
from skill_fleet.services.context import Context


def cache_paths(context: Context) -> dict[str, str]:
    """Where the answers and the ledger are; the second is what was paid and is never cleared."""
    return {"responses": str(context.workspace.responses), "ledger": str(context.workspace.ledger)}


def cache_stats(context: Context) -> dict[str, Any]:
    """How many answers are stored, their size in bytes, and the attempts in the ledger.

    Raises:
        StorageError: The journal cannot be read.
    """
    needed = [folder.run_id for folder in unfinished(context.workspace.runs)]
    empty = {"responses": 0, "bytes": 0, "attempts": 0}
    if not context.workspace.responses.exists() and not context.workspace.ledger.exists():
        return {**cache_paths(context), "stats": empty, "needed_by": needed}
    with closing(Journal(context.workspace.ledger, context.workspace.responses)) as journal:
        return {**cache_paths(context), "stats": journal.stats(), "needed_by": needed}


def clear_cache(context: Context, *, force: bool) -> dict[str, Any]:
    """Forget every stored answer; the ledger stays as it is.

    Raises:
        DataError: An unfinished run needs them, and there is no force.
        StorageError: The journal cannot be written.
    """
    needed = [folder.run_id for folder in unfinished(context.workspace.runs)]
    if needed and not force:
        more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
        raise DataError(
            f"The unfinished run {needed[0]}{more} needs the stored answers: they would be paid again.",
            hint="Finish it (skill-fleet runs resume), or use --force.",
            code="needed",
        )
    if not context.workspace.responses.exists():
        return {"removed": 0, **cache_paths(context)}
    with closing(Journal(context.workspace.ledger, context.workspace.responses)) as journal:
        return {"removed": journal.clear_responses(), **cache_paths(context)}
