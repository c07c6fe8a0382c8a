"""The library over REST: list, read, check, and have a skill written."""

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Body, Path, Query, Request
from starlette.responses import Response

from skill_fleet.api import examples
from skill_fleet.api.answers import answer
from skill_fleet.api.dependencies import CallerDep, ServiceDep
from skill_fleet.api.etags import ETAG_HEADER, is_current, not_modified
from skill_fleet.api.evaluation import BATCH_SECONDS, MANY
from skill_fleet.api.job_schemas import Started
from skill_fleet.api.large_bodies import LargeBodyRoute, dumped
from skill_fleet.api.problems import errors
from skill_fleet.api.schemas import SkillPage, SkillView, ValidateBody, Validated
from skill_fleet.api.starting import IDEMPOTENCY_KEY, STARTED_HEADERS, started
from skill_fleet.services import jobs, skills
from skill_fleet.services.cursors import make_cursor, read_cursor
from skill_fleet.services.job_requests import CreationBody

router = APIRouter(prefix="/skills", tags=["skills"], route_class=LargeBodyRoute)


@router.post(
    "",
    operation_id="create_skill",
    summary="Have a skill written: a job",
    status_code=202,
    response_model=Started,
    responses={202: {"headers": STARTED_HEADERS}, **errors(404, 409)},
)
async def create(
    body: Annotated[CreationBody, Body(openapi_examples=examples.CREATE_EXAMPLES)],
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    idempotency_key: Annotated[str | None, IDEMPOTENCY_KEY] = None,
) -> Response:
    """What `skill-fleet create-skill` does, in the background. Its result names the skill's place."""
    job, _ = await jobs.start_creation_job(
        service,
        await dumped(request, body),
        owner=caller.key,
        idempotency_key=idempotency_key,
        gone=request.is_disconnected,
    )
    return started(job)


@router.get(
    "",
    operation_id="list_skills",
    summary="The skills of the library, in the order of their paths",
    response_model=SkillPage,
    responses=errors(),
)
async def listed(
    service: ServiceDep,
    prefix: Annotated[str, Query(max_length=2000, description="Only skills at or below this path.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[
        str | None, Query(max_length=4000, description="`next_cursor` of the page before.")
    ] = None,
) -> Response:
    """A page of the library."""
    after = "" if cursor is None else read_cursor(cursor, ["skills", prefix], (str,))[0]

    def page() -> dict[str, Any]:
        return skills.list_skills(service.context, prefix=prefix, after=after, limit=limit)

    found = await anyio.to_thread.run_sync(page)
    last = found.pop("next")
    found["next_cursor"] = None if last is None else make_cursor([last], ["skills", prefix])
    found["skills"] = [_with_links(one) for one in found["skills"]]
    return answer(found)


@router.post(
    "/validate",
    operation_id="validate_skill",
    summary="Whether skills keep the specification",
    response_model=Validated,
    responses=errors(404),
)
async def validate(body: ValidateBody, service: ServiceDep) -> Response:
    """The findings of a skill of the library, of all skills below a path, or of a text."""
    context, profile = service.context, body.profile
    if "content" in body.model_fields_set:

        def findings() -> dict[str, Any]:
            return skills.validate_content(body.content, profile, name=body.name)

        return answer(await anyio.to_thread.run_sync(findings))
    if await anyio.to_thread.run_sync(skills.count_skills, context, body.path) > MANY:
        asked = {"paths": [body.path], "profile": profile}
        return answer(await service.batches.ask("validate_batch", asked, timeout=BATCH_SECONDS))
    return answer(await anyio.to_thread.run_sync(skills.validate_paths, context, [body.path], profile))


@router.get(
    "/{path:path}",
    operation_id="read_skill",
    summary="One skill of the library",
    response_model=SkillView,
    responses={
        200: {"headers": ETAG_HEADER},
        304: {"description": "It is as the `ETag` says."},
        **errors(404),
    },
)
async def read(
    path: Annotated[str, Path(description="A path of the library.")], request: Request, service: ServiceDep
) -> Response:
    """Its text, its fields, and what the rules say of it."""
    found = await anyio.to_thread.run_sync(skills.read_skill, service.context, path)
    etag = f'"{found["sha256"][:32]}"'
    if is_current(request, etag):
        return not_modified(etag)
    return answer(_with_links(found), headers={"ETag": etag})


def _with_links(line: dict[str, Any]) -> dict[str, Any]:
    return {**line, "links": {"self": f"/api/v2/skills/{line['path']}"}}
