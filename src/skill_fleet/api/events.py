"""What happens to a job, as it happens: Server-Sent Events, and pages of JSON for those who poll."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from skill_fleet.api.answers import answer, json_bytes
from skill_fleet.api.dependencies import CallerDep, ServiceDep, in_store
from skill_fleet.api.event_hub import EventHub, Pulse
from skill_fleet.api.examples import EVENT_STREAM
from skill_fleet.api.job_schemas import EventPage
from skill_fleet.api.problems import Refused, errors
from skill_fleet.services import jobs
from skill_fleet.services.job_views import event_view

router = APIRouter(prefix="/optimization", tags=["optimization"])

EVENT_STREAM_TYPE = "text/event-stream"
KEEP_ALIVE_SECONDS = 15.0
LONGEST_SECONDS = 900.0
"""A stream ends after this time, without `end`: the reader comes again."""
LOOK_SECONDS = 3.0
"""How often the key of a silent stream is looked at again; it is before every event too."""
MOST_STREAMS = 2000
LAST = 2**53
Holds = Callable[[], Awaitable[bool]]
"""Whether the reader may still read."""

_STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_STREAM_SCHEMA = {
    "type": "object",
    "description": "Of each event; `data` is as an event of a page, in JSON.",
    "required": ["event", "data"],
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
_NUMBER = r"^[0-9]{1,16}$"


@router.get(
    "/jobs/{job_id}/events",
    operation_id="job_events",
    summary="What happens to a job, as it happens",
    response_model=EventPage,
    responses={
        200: {
            "description": "A stream of events, or a page of them.",
            "content": {EVENT_STREAM_TYPE: {"schema": _STREAM_SCHEMA, "example": EVENT_STREAM}},
        },
        **errors(404, 410),
    },
)
async def events(
    job_id: str,
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    after: Annotated[int | None, Query(ge=0, lt=LAST, description="Only events after this number.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Of a page.")] = 500,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", pattern=_NUMBER, description="As `after`.")
    ] = None,
) -> Response:
    """A stream, unless `Accept` names JSON and no stream, or `after` is given and no stream asked for.

    The stream's ids are the events' numbers: with `Last-Event-ID` it goes on where it broke off, without loss
    or repeat. It ends with an event `end` once the job is over; without one, come again: who has no good key
    any more is told so then.
    """
    job = await in_store(service, jobs.get_job, service, job_id, caller.key)
    begin = after or 0
    if last_event_id is not None:
        begin = int(last_event_id)
    if _wants_stream(request, polls=after is not None):
        holds = partial(request.app.state.keys.holds, caller)
        return _stream(_hub(request, service), job.job_id, begin, holds)
    found = await in_store(service, service.jobs.events, job.job_id, begin, limit)
    last = found[-1].number if found else begin
    page = {
        "events": [event_view(event) for event in found],
        "last": last,
        "over": job.over and len(found) < limit,
    }
    return answer(page)


def _wants_stream(request: Request, *, polls: bool) -> bool:
    accepted = request.headers.get("accept", "*/*").lower()
    if EVENT_STREAM_TYPE in accepted:
        return True
    return not polls and "application/json" not in accepted


def _hub(request: Request, service: ServiceDep) -> EventHub:
    """The hub of this application, made for its first stream."""
    state = request.app.state
    hub: EventHub | None = getattr(state, "event_hub", None)
    if hub is None:

        async def read(job_id: str, after: int, limit: int) -> list[jobs.JobEvent]:
            return await in_store(service, service.jobs.events, job_id, after, limit)

        async def pulses(job_ids: Collection[str]) -> Mapping[str, Pulse]:
            return await in_store(service, service.jobs.pulses, job_ids)

        hub = state.event_hub = EventHub(read, pulses, service.context.settings.server.sse_poll_seconds)
        state.event_hub_stop = asyncio.create_task(_stop_with(state.stopping, hub))
    return hub


async def _stop_with(stopping: asyncio.Event, hub: EventHub) -> None:
    await stopping.wait()
    hub.stop()


def _stream(hub: EventHub, job_id: str, after: int, holds: Holds) -> Response:
    if hub.listeners >= MOST_STREAMS:
        raise Refused(
            "starting", f"{MOST_STREAMS} streams are open already.", hint="Poll with ?after= instead."
        )
    return StreamingResponse(_chunks(hub, job_id, after, holds), 200, _STREAM_HEADERS, EVENT_STREAM_TYPE)


async def _chunks(hub: EventHub, job_id: str, after: int, holds: Holds) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    said = loop.time()
    until = said + LONGEST_SECONDS
    yield b"retry: 1000\n\n"
    async with hub.listening(job_id, after) as listener:
        while not hub.stopping and loop.time() < until:
            found = await listener.next(min(LOOK_SECONDS, KEEP_ALIVE_SECONDS))
            if not await holds():
                yield b": the key is not valid any more\n\n"
                return
            if found:
                yield b"".join(sent.chunk for sent in found)
            elif listener.ended is not None:
                end = {"job_id": job_id, "status": listener.ended}
                yield b"event: end\ndata: " + json_bytes(end) + b"\n\n"
                return
            elif loop.time() - said >= KEEP_ALIVE_SECONDS:
                yield b": still there\n\n"
            else:
                continue
            said = loop.time()
