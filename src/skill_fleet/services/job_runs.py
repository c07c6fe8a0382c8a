"""Runs that are jobs of the service, as the terminal sees them: how they stand, and who goes on with them."""

from collections.abc import Collection, Mapping
from contextlib import closing

from skill_fleet.foundation.errors import DataError, SkillFleetError, StateConflict
from skill_fleet.jobs.records import RESUMABLE, Status
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.services.context import Context

UNFINISHED: frozenset[Status] = frozenset({"queued", "running", *RESUMABLE})
"""Jobs that will, or may, ask for stored answers again."""


def job_statuses(context: Context, folders: Collection[RunFolder]) -> Mapping[str, Status]:
    """How the jobs among some runs stand, by their names; those that nobody can tell of are left out."""
    names = [folder.run_id for folder in folders if folder.is_job]
    url = context.loaded.database
    if not names or (url is None and not (context.workspace.service / "jobs.sqlite").exists()):
        return {}
    from skill_fleet.jobs.database import open_database
    from skill_fleet.jobs.migrate import HEAD, revision
    from skill_fleet.jobs.store import JobStore

    try:
        with closing(open_database(context.workspace, url)) as database:
            if revision(database) != HEAD:
                return {}
            found = JobStore(database).pulses(names)
    except SkillFleetError:
        return {}  # whoever asks for the service itself is told
    return {job_id: status for job_id, (_, status) in found.items()}


def resume_command(run_id: str, status: Status | None) -> str | None:
    """What goes on with a job that stands so; None where nothing does, or it goes on by itself."""
    return f"skill-fleet jobs resume {run_id}" if status is None or status in RESUMABLE else None


def refuse_job(context: Context, folder: RunFolder) -> None:
    """Nothing, where a run is the terminal's own to go on with.

    Raises:
        StateConflict: It is a job's that the service goes on with, by its queue and its key's budget.
        DataError: It is a job's that is over.
    """
    if not folder.is_job:
        return
    run_id = folder.run_id
    status = job_statuses(context, [folder]).get(run_id)
    if status in {"succeeded", "failed", "cancelled"}:
        told = "cancelled for good" if status == "cancelled" else f"over ({status})"
        raise DataError(
            f"The run {run_id} is a job of the service, and that is {told}.",
            hint=f"See: skill-fleet runs show {run_id}.",
            code="run_over",
        )
    standing = "" if status is None else f", which is {status}"
    hint = resume_command(run_id, status)
    raise StateConflict(
        f"The run {run_id} is a job of the service{standing}: only the service goes on with it.",
        hint=f"{hint}." if hint else f"It goes on by itself: skill-fleet jobs status {run_id}.",
    )
