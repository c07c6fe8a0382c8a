"""The answer to a request that began a job."""

from typing import Any

from fastapi import Header
from starlette.responses import Response

from skill_fleet.api.answers import answer
from skill_fleet.jobs.records import Job
from skill_fleet.services.jobs import job_view

POLL_SECONDS = 1
"""How soon it makes sense to ask for a job's status."""

IDEMPOTENCY_KEY = Header(
    alias="Idempotency-Key",
    min_length=1,
    max_length=200,
    pattern=r"^[\x21-\x7e]+$",
    description="The same key and body give the same job; the same key with another body is refused.",
)

STARTED_HEADERS: dict[str, Any] = {
    "Location": {"description": "Where the job's status is.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}


def started(job: Job) -> Response:
    """202 with the job's name, where it can be followed, and when to ask again."""
    view = job_view(job)
    shown = {name: view[name] for name in ("job_id", "status", "message", "links")}
    headers = {"Location": view["links"]["self"], "Retry-After": str(POLL_SECONDS)}
    return answer(shown, 202, headers)
