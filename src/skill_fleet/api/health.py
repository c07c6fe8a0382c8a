"""Whether the server lives, whether it can do its work, and how it does: for orchestrators and monitoring."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.datastructures import State
from starlette.responses import Response

from skill_fleet.api.answers import answer
from skill_fleet.api.dependencies import ServiceDep
from skill_fleet.api.metrics import CONTENT_TYPE, families, text_of
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.migrate import HEAD, revision

if TYPE_CHECKING:
    from skill_fleet.jobs.worker import RunningWorker
    from skill_fleet.services.service import Service

router = APIRouter(tags=["health"])
MIN_FREE_BYTES = 64 * 1024 * 1024
"""With less a run could not even write its result."""


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Ready(BaseModel):
    """Whether requests can be served, and what stands against it."""

    status: str
    checks: dict[str, str]


@router.get("/healthz", operation_id="is_alive", summary="Whether the process answers", response_model=Alive)
async def healthz() -> Response:
    """No database is asked: a server that waits for its database is alive."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="is_ready",
    summary="Whether requests can be served",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not now; `checks` says why."}},
)
async def readyz(request: Request, service: ServiceDep) -> Response:
    """The database has the tables of this version, the worker of this process works, and there is room."""
    state = request.app.state
    checks = await anyio.to_thread.run_sync(_checks, service, state)
    ready = all(found == "ok" for found in checks.values())
    status = 200 if ready else 503
    headers = {} if ready else {"Retry-After": "2"}
    return answer({"status": "ok" if ready else "not_ready", "checks": checks}, status, headers)


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text format."}
    },
)
async def metrics(request: Request, service: ServiceDep) -> Response:
    """Requests, jobs, queue, workers, spending, failures, and what the last runs of each optimizer gained."""
    counts = await anyio.to_thread.run_sync(service.jobs.counts)  # it reads every job
    body = request.app.state.latency.text() + text_of(families(counts))
    return Response(body, media_type=CONTENT_TYPE)


def _checks(service: "Service", state: State) -> dict[str, str]:
    worker = {"worker": _worker(state.worker)} if state.expects_worker else {}
    return {"database": _database(service), **worker, "disk": _disk(service.context.workspace.state)}


def _database(service: "Service") -> str:
    try:
        return "ok" if revision(service.database) == HEAD else "its tables are not those of this version"
    except SkillFleetError as error:
        return f"it does not answer ({error.code})"


def _worker(worker: "RunningWorker | None") -> str:
    if worker is None:
        return "it is starting"
    if worker.failed is not None:
        return "it failed; the log of the server says why"
    if (trouble := worker.trouble) is None:
        return "ok"
    # Its words may name files and hosts; anybody may ask whether the server is ready.
    code = trouble.code if isinstance(trouble, SkillFleetError) else "bug"
    return f"it cannot work just now ({code}); it tries again"


def _disk(folder: Path) -> str:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        free: int = shutil.disk_usage(there).free
    except OSError:
        return "the workspace cannot be read"
    return "ok" if free >= MIN_FREE_BYTES else f"less than {MIN_FREE_BYTES >> 20} MiB are free"
