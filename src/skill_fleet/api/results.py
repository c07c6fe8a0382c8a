"""What came of a job: the JSON of the run, and the page made of it."""

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from skill_fleet.api import examples
from skill_fleet.api.answers import MEDIA_TYPE, answer
from skill_fleet.api.dependencies import CallerDep, ServiceDep, in_store
from skill_fleet.api.problems import Refused, errors
from skill_fleet.services import jobs
from skill_fleet.services.job_report import REPORT_POLICY, job_report, report_page

router = APIRouter(prefix="/optimization", tags=["optimization"])

JobId = Annotated[str, Path(max_length=100, examples=[examples.JOB_ID])]
HTML, MARKDOWN = "text/html", "text/markdown"
_POLICY = f"{REPORT_POLICY}; frame-ancestors 'none'"
_TEXT: dict[str, Any] = {"schema": {"type": "string"}}


@router.get(
    "/jobs/{job_id}/result",
    operation_id="job_result",
    summary="What came of a job",
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}, **errors(404, 410)},
)
async def result(job_id: JobId, service: ServiceDep, caller: CallerDep) -> Response:
    """The JSON that `skill-fleet optimize --json` prints; of a job that did not end well, what there is."""
    return answer(await in_store(service, jobs.job_result, service, job_id, caller.key))


@router.get(
    "/jobs/{job_id}/report",
    operation_id="job_report",
    summary="A job's result for people",
    response_class=Response,
    responses={200: {"content": {HTML: _TEXT, MARKDOWN: _TEXT}}, **errors(404, 406, 410)},
)
async def report(job_id: JobId, request: Request, service: ServiceDep, caller: CallerDep) -> Response:
    """One self-contained page without scripts; with `Accept: text/markdown` the text it is made of."""
    form = _form(request.headers.get("accept", ""))
    text = await anyio.to_thread.run_sync(job_report, service, job_id, caller.key)
    if form == MARKDOWN:
        return Response(text.encode("utf-8", "replace"), media_type=MARKDOWN)
    page = await anyio.to_thread.run_sync(report_page, text, f"Job {job_id}")
    headers = {"Content-Security-Policy": _POLICY}
    return Response(page.encode("utf-8", "replace"), headers=headers, media_type=HTML)


def _form(accept: str) -> str:
    """The page, unless Markdown is accepted and no HTML.

    Raises:
        Refused: Neither is accepted; the code is `not_acceptable`.
    """
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    if not accept.strip() or {HTML, "text/*", "*/*"} & set(kinds):
        return HTML if MARKDOWN not in kinds or HTML in kinds else MARKDOWN
    if MARKDOWN in kinds:
        return MARKDOWN
    raise Refused("not_acceptable", "A report comes as text/html or text/markdown.")
