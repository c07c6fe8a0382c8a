"""Optimization jobs: start one, follow it, stop it, take its result."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from skill_fleet.api import examples
from skill_fleet.api.answers import MEDIA_TYPE, answer, json_bytes
from skill_fleet.api.dependencies import CallerDep, ServiceDep, in_store
from skill_fleet.api.etags import ETAG_HEADER, is_current, not_modified
from skill_fleet.api.job_schemas import (
    Cancelling,
    JobPage,
    JobView,
    Started,
)
from skill_fleet.api.large_bodies import LargeBodyRoute, dumped
from skill_fleet.api.problems import errors
from skill_fleet.api.starting import IDEMPOTENCY_KEY, POLL_SECONDS, STARTED_HEADERS, started
from skill_fleet.jobs.records import Kind, Status
from skill_fleet.services import jobs
from skill_fleet.services.job_requests import OptimizationBody, ResumeBody

router = APIRouter(prefix="/optimization", tags=["optimization"], route_class=LargeBodyRoute)

JobId = Annotated[str, Path(max_length=100, examples=[examples.JOB_ID])]
_STATUS_PARAMETERS = [
    {
        "name": "job_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "maxLength": 100},
        "example": examples.JOB_ID,
    },
    {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The `ETag` of what you have.",
        "schema": {"type": "string"},
    },
]
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as the `ETag` says."}}


@router.post(
    "/start",
    operation_id="start_optimization",
    summary="Start an optimization: a job",
    status_code=202,
    response_model=Started,
    responses={202: {"headers": STARTED_HEADERS}, **errors(404, 409)},
)
async def start(
    body: Annotated[OptimizationBody, Body(openapi_examples=examples.START_EXAMPLES)],
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, IDEMPOTENCY_KEY] = None,
) -> Response:
    """What `skill-fleet optimize` does, in the background: checked before it is queued, in the same words."""
    job, _ = await jobs.start_optimization_job(
        service,
        await dumped(request, body),
        owner=caller.key,
        idempotency_key=idempotency_key,
        gone=request.is_disconnected,
    )
    return started(job)


@router.get(
    "/status/{job_id}",
    operation_id="job_status",
    summary="How a job stands",
    response_model=JobView,
    responses={200: {"headers": ETAG_HEADER}, **_NOT_MODIFIED, **errors(404, 410)},
    openapi_extra={"parameters": _STATUS_PARAMETERS},
)
async def status(request: Request) -> Response:
    """Ask with `If-None-Match`: while nothing has changed the answer is 304 and has no body."""
    # The most asked route: its two parameters are documented above and read here, which costs a third less.
    service, caller = request.app.state.service, request.scope["caller"]
    job_id = request.path_params["job_id"]
    job = await in_store(service, jobs.get_job, service, job_id, caller.key)
    etag = f'"{job.job_id}.{job.version}"'
    headers = {"ETag": etag}
    if not job.over:
        headers["Retry-After"] = str(POLL_SECONDS)
    if is_current(request, etag):
        return not_modified(etag)
    return Response(json_bytes(jobs.job_view(job)), 200, headers, MEDIA_TYPE)


@router.get(
    "/jobs",
    operation_id="list_jobs",
    summary="Jobs, newest first",
    response_model=JobPage,
    responses=errors(),
)
async def listed(
    service: ServiceDep,
    caller: CallerDep,
    status: Annotated[list[Status] | None, Query(description="Only jobs of these statuses.")] = None,
    kind: Annotated[Kind | None, Query(description="Only jobs of this kind.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[
        str | None, Query(max_length=4000, description="`next_cursor` of the page before.")
    ] = None,
) -> Response:
    """Your own jobs; with the scope `admin` everybody's."""

    def page() -> dict[str, Any]:
        return jobs.list_jobs(
            service, caller.key, statuses=tuple(status or ()), kind=kind, cursor=cursor, limit=limit
        )

    return answer(await in_store(service, page))


@router.delete(
    "/jobs/{job_id}",
    operation_id="delete_job",
    summary="Cancel a job, or remove one that is over",
    status_code=202,
    response_model=Cancelling,
    responses={204: {"description": "It is removed."}, **errors(404, 409)},
)
async def delete(job_id: JobId, service: ServiceDep, caller: CallerDep) -> Response:
    """A job that goes on is cancelled (202): ask again once it is over. What is removed stays so (204)."""
    done = await jobs.delete_job(service, job_id, caller.key)
    if done == "removed":
        return Response(status_code=204)
    headers = {"Retry-After": str(POLL_SECONDS)}
    return answer({"job_id": job_id, "status": "cancelling"}, 202, headers)


@router.post(
    "/jobs/{job_id}/cancel",
    operation_id="cancel_job",
    summary="Cancel a job",
    response_model=JobView,
    responses=errors(404, 409, 410),
)
async def cancel(job_id: JobId, service: ServiceDep, caller: CallerDep) -> Response:
    """No new call is made; the best so far is kept. A job that is running is cancelled shortly after."""
    return answer(jobs.job_view(await jobs.cancel_job(service, job_id, caller.key)))


@router.post(
    "/jobs/{job_id}/pause",
    operation_id="pause_job",
    summary="Pause a job",
    response_model=JobView,
    responses=errors(404, 409, 410),
)
async def pause(job_id: JobId, service: ServiceDep, caller: CallerDep) -> Response:
    """No new call is made, until it is resumed. A job that is running is paused shortly after."""
    return answer(jobs.job_view(await jobs.pause_job(service, job_id, caller.key)))


@router.post(
    "/jobs/{job_id}/resume",
    operation_id="resume_job",
    summary="Go on with a job that was paused or stopped",
    response_model=JobView,
    responses=errors(404, 409, 410),
)
async def resume(
    job_id: JobId,
    service: ServiceDep,
    caller: CallerDep,
    body: Annotated[ResumeBody | None, Body(openapi_examples=examples.RESUME_EXAMPLES)] = None,
) -> Response:
    """No call that was answered is made again. Caps may be raised."""
    given = {} if body is None else body.model_dump(exclude_unset=True)
    return answer(jobs.job_view(await jobs.resume_job(service, job_id, caller.key, given)))
