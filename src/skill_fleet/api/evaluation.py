"""How good skills are: of the library, of a text, of many at once."""

from typing import Any

import anyio.to_thread
from fastapi import APIRouter
from starlette.responses import Response

from skill_fleet.api.answers import MEDIA_TYPE, answer
from skill_fleet.api.dependencies import ServiceDep
from skill_fleet.api.large_bodies import LargeBodyRoute
from skill_fleet.api.problems import errors
from skill_fleet.api.schemas import (
    EvaluateBatchBody,
    EvaluateBody,
    EvaluateContentBody,
    Evaluated,
    EvaluatedBatch,
    MetricsInfo,
)
from skill_fleet.services import skills

router = APIRouter(prefix="/evaluation", tags=["evaluation"], route_class=LargeBodyRoute)

MANY = 50
"""From how many skills on the work is done in another process: threads would hold up the other requests."""
BATCH_SECONDS = 300.0
"""How long an evaluation of many skills may take."""


@router.post(
    "/evaluate",
    operation_id="evaluate_skill",
    summary="The quality of a skill of the library, or of all skills below a path",
    response_model=Evaluated,
    responses=errors(404),
)
async def evaluate(body: EvaluateBody, service: ServiceDep) -> Response:
    """Quality is the guard's, a floor computed from the text alone: no model is asked, nothing is spent."""
    context = service.context
    if await anyio.to_thread.run_sync(skills.count_skills, context, body.path) > MANY:
        asked = {"paths": [body.path], "task": body.task}
        found = await service.batches.ask("evaluate_batch", asked, timeout=BATCH_SECONDS)
        found.pop("errors")
    else:
        found = await anyio.to_thread.run_sync(skills.evaluate_paths, context, [body.path], body.task)
    return answer(found)


@router.post(
    "/evaluate-content",
    operation_id="evaluate_content",
    summary="The quality of a text that is in no library",
    response_model=Evaluated,
    responses=errors(),
)
async def evaluate_content(body: EvaluateContentBody, service: ServiceDep) -> Response:
    """As `evaluate_skill`. Links of the text are not followed: its files are not here."""

    def score() -> dict[str, Any]:
        return skills.evaluate_content(service.context, body.content, name=body.name, task=body.task)

    return answer(await anyio.to_thread.run_sync(score))


@router.post(
    "/evaluate-batch",
    operation_id="evaluate_batch",
    summary="The quality of many skills of the library",
    response_model=EvaluatedBatch,
    responses=errors(),
)
async def evaluate_batch(body: EvaluateBatchBody, service: ServiceDep) -> Response:
    """In a process of its own. A path that cannot be scored is named in `errors` and stops no other."""
    asked = {"paths": body.paths}
    # Passed on as it comes: to read megabytes here would hold up everybody else.
    found = await service.batches.ask_json("evaluate_batch", asked, timeout=BATCH_SECONDS)
    return Response(found, media_type=MEDIA_TYPE)


@router.get(
    "/metrics-info",
    operation_id="metrics_info",
    summary="What quality is made of",
    response_model=MetricsInfo,
    responses=errors(),
)
async def metrics_info(service: ServiceDep) -> Response:
    """Components and weights of a skill's quality, and the thresholds and targets in force."""
    return answer(skills.metrics_info(service.context))
