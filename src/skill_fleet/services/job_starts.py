"""Putting jobs into the queue, and what is asked before: what it would take, and which optimizer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import Clock, timed_name
from skill_fleet.foundation.errors import Interrupted, StorageError
from skill_fleet.jobs.admitting import Admit
from skill_fleet.jobs.records import ApiKey, Job, Kind, NewJob
from skill_fleet.jobs.store import Idempotency, SpentToday
from skill_fleet.services.job_requests import creation_request, optimization_request
from skill_fleet.services.keys import Caps, allowance
from skill_fleet.services.service import Service

log = logging.getLogger(__name__)

_CHECK_SECONDS = 60.0

Body = Mapping[str, Any]
Gone = Callable[[], Awaitable[bool]]
"""Whether whoever asks has gone away."""


def new_job_id(clock: Clock) -> str:
    """A name for a new job and its run: when it was asked for, and chance."""
    return timed_name(clock, 10)


async def start_optimization_job(
    service: Service,
    body: Body,
    *,
    owner: ApiKey | None,
    idempotency_key: str | None = None,
    gone: Gone | None = None,
) -> tuple[Job, bool]:
    """Put an optimization into the queue, once everything that can be known to be wrong was looked for.

    Args:
        service: Where.
        body: As `OptimizationBody`.
        owner: Who asks; its day lowers the caps.
        idempotency_key: What the client calls this request: asked again, it is the same job.
        gone: Asked after the check: who has given up meanwhile gets no job.

    Returns:
        The job, and whether it is new.

    Raises:
        UsageError: A field is wrong.
        IdempotencyConflict: The key came before, with another body.
        StateConflict: The owner has too many unfinished jobs (`too_many_jobs`).
        KeyBudgetSpent: Nothing is left of the owner's day.
        Interrupted: Whoever asked is gone.
        SkillFleetError: The run could not begin; the sentence is that of the terminal.
    """
    request = await asyncio.to_thread(optimization_request, service.context, body)
    return await _start(service, "optimization", request, body, owner, idempotency_key, gone)


async def start_creation_job(
    service: Service,
    body: Body,
    *,
    owner: ApiKey | None,
    idempotency_key: str | None = None,
    gone: Gone | None = None,
) -> tuple[Job, bool]:
    """Put the writing of a skill into the queue; as `start_optimization_job`, of a `CreationBody`."""
    request = await asyncio.to_thread(creation_request, service.context, body)
    return await _start(service, "creation", request, body, owner, idempotency_key, gone)


async def estimate(service: Service, body: Body) -> dict[str, Any]:
    """What an optimization would take; nothing is spent. See `estimate_optimization`."""
    request = await asyncio.to_thread(optimization_request, service.context, body)
    answer: dict[str, Any] = await service.helper.ask(
        "estimate", {"request": request}, timeout=_CHECK_SECONDS
    )
    return answer


async def recommend(service: Service, body: Body) -> dict[str, Any]:
    """Which optimizer for a request, with the rule that decided. See `recommend_optimizer`."""
    request = await asyncio.to_thread(optimization_request, service.context, body)
    return await _asked(service, "recommend", request)


async def optimizers(service: Service) -> dict[str, Any]:
    """`optimizers`, and `unusable`: those of other packages that cannot be used. Asked once, then known."""
    if "optimizers" not in service.known:
        service.known["optimizers"] = await service.helper.ask("optimizers", {}, timeout=_CHECK_SECONDS)
    found: dict[str, Any] = service.known["optimizers"]
    return found


async def _asked(service: Service, question: str, request: Body) -> dict[str, Any]:
    answer: dict[str, Any] = await service.helper.ask(question, {"request": request}, timeout=_CHECK_SECONDS)
    return answer


async def _start(
    service: Service,
    kind: Kind,
    request: dict[str, Any],
    body: Body,
    key: ApiKey | None,
    idempotency_key: str | None,
    gone: Gone | None,
) -> tuple[Job, bool]:
    owner = None if key is None else key.key_id
    same = None
    if idempotency_key is not None:
        # It may have megabytes: off the event loop, as all that goes through the whole of it.
        value = await asyncio.to_thread(digest, {"kind": kind, "body": dict(body)})
        same = Idempotency(idempotency_key, value)
        before = await asyncio.to_thread(service.jobs.known, owner, same)
        if before is not None:
            return before, False
    clock = service.context.clock
    asked: Caps = (request["budget"]["max_cost"], request["budget"]["max_calls"])
    today = await asyncio.to_thread(service.jobs.spent_today, owner)
    usd, calls = allowance(key, today, asked, clock=clock)
    capped = {**request, "budget": {**request["budget"], "max_cost": usd, "max_calls": calls}}
    payload = {"request": capped, "keys": service.database.is_sqlite}
    checked = await service.helper.ask(f"check_{kind}", payload, timeout=_CHECK_SECONDS)
    if gone is not None and await gone():
        raise Interrupted("Whoever asked for the job is gone: it was not started.")
    new = NewJob(
        new_job_id(clock),
        kind,
        request,
        owner=owner,
        provider=checked["provider"],
        metadata=body.get("metadata") or {},
        max_tokens=request["budget"]["max_tokens"],
        max_minutes=request["budget"]["max_minutes"],
    )

    def admit(now: SpentToday) -> Caps:
        return allowance(key, now, asked, clock=clock)

    return await asyncio.to_thread(_create, service, new, same, admit)


def _create(service: Service, new: NewJob, same: Idempotency | None, admit: Admit) -> tuple[Job, bool]:
    at_most = None if new.owner is None else service.context.settings.server.jobs_per_key
    job, created = service.jobs.create(new, idempotency=same, admit=admit, at_most=at_most)
    if created:
        enqueue(service, job)
        caps = {name: getattr(job, name) for name in ("max_usd", "max_calls", "max_tokens", "max_minutes")}
        data = {"kind": job.kind, **caps}
        service.audit.write(new.owner, "job_started", job.job_id, data)
    return job, created


def enqueue(service: Service, job: Job) -> None:
    """Tell the queue; where it does not answer, a worker finds the job and does so later."""
    try:
        service.queue.enqueue(job)
        service.jobs.enqueued(job.job_id, job.attempt)
    except StorageError as error:
        log.warning("The queue was not told of job %s yet: %s", job.job_id, error.message)
