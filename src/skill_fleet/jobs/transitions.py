"""What may be asked of a job in each status, and what becomes of it."""

from typing import Literal

from skill_fleet.foundation.errors import StateConflict
from skill_fleet.jobs.records import OVER, RESUMABLE, Job, Status, Wanted

Asked = Literal["at once", "by its holder", "nothing"]


def ask(job: Job, wanted: Wanted) -> Asked:
    """How a wish takes effect.

    Args:
        job: As it stands.
        wanted: `paused` or `cancelled`.

    Returns:
        `at once`: nobody is working on it. `by its holder`: who works on it sees the wish. `nothing`: it is
        so already, or was asked before.

    Raises:
        StateConflict: It makes no sense in this status.
    """
    if job.status == wanted or (job.status == "running" and job.wanted == wanted):
        return "nothing"
    if job.status == "running" and job.wanted != "cancelled":
        return "by its holder"
    if job.status in {"queued", "paused"} or (job.status == "stopped" and wanted == "cancelled"):
        return "at once"
    raise StateConflict(f"Job {job.job_id} cannot be {wanted}: it is {standing(job)}.", hint=_hint(job))


def check_requeue(job: Job) -> None:
    """Nothing, where the job may be put into the queue again.

    Raises:
        StateConflict: It is neither paused nor stopped.
    """
    if job.status not in RESUMABLE:
        raise StateConflict(f"Job {job.job_id} cannot be resumed: it is {standing(job)}.", hint=_hint(job))


def check_remove(job: Job) -> None:
    """Nothing, where the job may be removed.

    Raises:
        StateConflict: It is not over.
    """
    if job.status not in OVER:
        raise StateConflict(
            f"Job {job.job_id} cannot be removed: it is {standing(job)}.", hint="Cancel it first."
        )


def granted(status: Status, wanted: Wanted | None) -> Status:
    """The status of a job whose work has ended with `status` while something else was wanted.

    What has succeeded or failed stays so; of a job that could go on, the wish holds.
    """
    if wanted is None or status in {"succeeded", "failed", "cancelled"}:
        return status
    return "cancelled" if wanted == "cancelled" else ("stopped" if status == "stopped" else "paused")


def standing(job: Job) -> str:
    """Its status in words, with what is on its way."""
    if job.status == "running" and job.wanted is not None:
        return "being paused" if job.wanted == "paused" else "being cancelled"
    return job.status


def _hint(job: Job) -> str:
    if job.status == "running" and job.wanted is not None:
        return "Ask again when that has happened."
    if job.status in {"succeeded", "failed", "cancelled"}:
        return "It is over; start a new one."
    if job.status == "stopped":
        return "Resume it with a raised budget, or cancel it."
    return ""
