"""What clients ask of jobs: start one, follow it, pause, resume, cancel or remove it.

What asks the store alone is a plain function, quick on SQLite and to be called off the event loop on
PostgreSQL; what asks the queue or the helper too is a coroutine. A job of another owner is not there, except
for who may see all (`is_admin`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from skill_fleet.foundation.errors import BudgetExhausted, NotFound, Removed, StateConflict, StorageError
from skill_fleet.jobs.records import ApiKey, Job, JobEvent, Kind, Status, Wanted
from skill_fleet.jobs.store import ANY, SpentToday
from skill_fleet.services.cursors import make_cursor, read_cursor
from skill_fleet.services.job_folders import remove_folders
from skill_fleet.services.job_requests import ResumeBody, read_body
from skill_fleet.services.job_starts import (
    Body,
    enqueue,
    estimate,
    new_job_id,
    optimizers,
    recommend,
    start_creation_job,
    start_optimization_job,
)
from skill_fleet.services.job_views import event_view, job_view, summary_view
from skill_fleet.services.keys import Caps, allowance, is_admin
from skill_fleet.services.service import Service

__all__ = [
    "Job",
    "JobEvent",
    "cancel_job",
    "delete_job",
    "estimate",
    "event_view",
    "get_job",
    "job_events",
    "job_result",
    "job_view",
    "list_jobs",
    "new_job_id",
    "optimizers",
    "pause_job",
    "recommend",
    "resume_job",
    "start_creation_job",
    "start_optimization_job",
]

log = logging.getLogger(__name__)

_MOST_LISTED = 100


def get_job(service: Service, job_id: str, key: ApiKey | None) -> Job:
    """A job that this caller may see.

    Raises:
        NotFound: There is none, or it is another's.
        Removed: It was removed.
    """
    try:
        job = service.jobs.get(job_id)
    except Removed as removed:
        if is_admin(key) or (key is not None and removed.owner == key.key_id):
            raise
        raise _absent(job_id) from None
    if not is_admin(key) and (key is None or job.owner != key.key_id):
        raise _absent(job_id)
    return job


def list_jobs(
    service: Service,
    key: ApiKey | None,
    *,
    statuses: Sequence[Status] = (),
    kind: Kind | None = None,
    cursor: str | None = None,
    limit: int = 20,
) -> dict[str, Any]:
    """A page of the jobs that this caller may see, newest first.

    Args:
        service: Where.
        key: Who asks.
        statuses: Only those; none is all.
        kind: Only those.
        cursor: `next_cursor` of the page before.
        limit: Most jobs of this page, up to 100.

    Returns:
        `jobs` as `summary_view` gives them, and `next_cursor`, null on the last page.

    Raises:
        UsageError: The cursor is not of this list.
    """
    owner = ANY if is_admin(key) or key is None else key.key_id
    filters = [sorted(set(statuses)), kind, None if key is None else key.key_id]
    before = None if cursor is None else _place(cursor, filters)
    size = max(1, min(limit, _MOST_LISTED))
    found = service.jobs.page(owner=owner, statuses=statuses, kind=kind, before=before, limit=size + 1)
    page = found[:size]
    more = len(found) > size
    return {
        "jobs": [summary_view(job) for job in page],
        "next_cursor": make_cursor([page[-1].created_at, page[-1].job_id], filters) if more else None,
    }


def job_events(
    service: Service, job_id: str, key: ApiKey | None, *, after: int = 0, limit: int = 500
) -> list[JobEvent]:
    """What happened to a job after an event's number, in order.

    Raises:
        NotFound, Removed: As for `get_job`.
    """
    get_job(service, job_id, key)
    return service.jobs.events(job_id, after, limit)


def job_result(service: Service, job_id: str, key: ApiKey | None) -> dict[str, Any]:
    """What came of a job.

    Raises:
        NotFound: There is no such job, or (`no_result`) no result of it yet.
    """
    job = get_job(service, job_id, key)
    if job.result is None:
        said = "It failed." if job.status == "failed" else f"It is {job.status}."
        raise NotFound(f"Job {job.job_id} has no result: {said}", code="no_result")
    return dict(job.result)


async def cancel_job(service: Service, job_id: str, key: ApiKey | None) -> Job:
    """End a job: at once where nobody works on it, else as soon as its process has stopped.

    Raises:
        NotFound, Removed: As for `get_job`.
        StateConflict: It is over already, and not by this.
    """
    return await asyncio.to_thread(_want, service, job_id, "cancelled", key)


async def pause_job(service: Service, job_id: str, key: ApiKey | None) -> Job:
    """Take a job out of work; what it has done is kept.

    Raises:
        NotFound, Removed: As for `get_job`.
        StateConflict: It is over, or about to be.
    """
    return await asyncio.to_thread(_want, service, job_id, "paused", key)


async def resume_job(service: Service, job_id: str, key: ApiKey | None, body: Body | None = None) -> Job:
    """Put a paused or stopped job into the queue again; no call that was paid for is repeated.

    Args:
        service: Where.
        job_id: The job.
        key: Who asks.
        body: As `ResumeBody`; None keeps the caps.

    Raises:
        NotFound, Removed: As for `get_job`.
        StateConflict: It is neither paused nor stopped, or a cap stopped it and none is higher now.
        KeyBudgetSpent: Nothing is left of its owner's day.
    """
    budget = read_body(ResumeBody, body or {}).budget
    raised = {} if budget is None else budget.model_dump(exclude_none=True)
    return await asyncio.to_thread(_resume, service, job_id, key, raised)


async def delete_job(service: Service, job_id: str, key: ApiKey | None) -> Literal["cancelling", "removed"]:
    """Cancel a job that is not over; remove one that is: its contents go. Removed ones stay so.

    Raises:
        NotFound: There is no such job, or it is another's.
    """
    return await asyncio.to_thread(_delete, service, job_id, key)


def _want(service: Service, job_id: str, wanted: Wanted, key: ApiKey | None) -> Job:
    before = get_job(service, job_id, key)
    by = None if key is None else key.key_id
    job = service.jobs.want(before.job_id, wanted, by)
    service.audit.write(by, f"job_{wanted}", job.job_id)
    if before.status == "queued" and job.status != "queued":
        try:
            service.queue.cancel(job)
        except StorageError as error:  # a worker that takes it finds nothing to do
            log.warning("The queue still has job %s: %s", job.job_id, error.message)
    return job


def _resume(service: Service, job_id: str, key: ApiKey | None, raised: Mapping[str, Any]) -> Job:
    before = get_job(service, job_id, key)
    by = None if key is None else key.key_id
    payer = None if before.owner is None else service.keys.get(before.owner)
    given = service.jobs.request_of(before.job_id)
    earlier = given.get("budget") or {}
    budget = {**earlier, **raised}
    asked: Caps = (budget.get("max_cost"), budget.get("max_calls"))

    def admit(job: Job, today: SpentToday) -> Caps:
        spent = (job.usd, job.calls)
        caps = allowance(payer, today, asked, clock=service.context.clock, spent=spent)
        _check_raised(job, earlier, {**budget, "max_cost": caps[0], "max_calls": caps[1]})
        return caps

    request = {**given, "budget": budget} if raised else None
    others = {name: budget.get(name) for name in ("max_tokens", "max_minutes")}
    job = service.jobs.requeue(before.job_id, by, request=request, admit=admit, **others)
    service.audit.write(by, "job_resumed", job.job_id, {"budget": dict(raised)})
    enqueue(service, job)
    return job


def _check_raised(job: Job, earlier: Mapping[str, Any], budget: Mapping[str, Any]) -> None:
    """A job that its caps have stopped can only go on when one of them is higher."""
    if job.status != "stopped" or (job.error or {}).get("code") != BudgetExhausted.code:
        return
    caps = {**earlier, "max_cost": job.max_usd, "max_calls": job.max_calls}
    for name, cap in caps.items():
        now = budget.get(name)
        if cap is not None and (now is None or now > cap):
            return
    spent = "" if job.usd_unknown_calls else f", ${job.usd:.4f}" if job.usd else ", $0"
    raise StateConflict(
        f"Job {job.job_id} was stopped by a cap, and none is higher now.",
        hint=f"It has made {job.calls} calls{spent} so far: resume it with a budget above that.",
    )


def _delete(service: Service, job_id: str, key: ApiKey | None) -> Literal["cancelling", "removed"]:
    by = None if key is None else key.key_id
    try:
        if not get_job(service, job_id, key).over:
            with contextlib.suppress(StateConflict):  # it ended meanwhile
                _want(service, job_id, "cancelled", key)
                return "cancelling"
        service.jobs.remove(job_id, by)
    except Removed:
        _remove_folders(service, job_id)
        return "removed"
    _remove_folders(service, job_id)
    service.audit.write(by, "job_removed", job_id)
    return "removed"


def _remove_folders(service: Service, job_id: str) -> None:
    """What this workspace keeps of a job goes at once; what others keep, when they sweep."""
    try:
        remove_folders(service.context.workspace, job_id)
    except StorageError as error:
        log.warning("A folder of the removed job %s is still there: %s", job_id, error.message)


def _place(cursor: str, filters: Sequence[Any]) -> tuple[float, str]:
    """When the last job of a page was made, and its name."""
    at, job_id = read_cursor(cursor, filters, (float, str))
    return at, job_id


def _absent(job_id: str) -> NotFound:
    """The same words as of a job that never was."""
    shown = job_id.encode("utf-8", "replace").decode()[:100]
    return NotFound(f"There is no job {shown!r}.")
