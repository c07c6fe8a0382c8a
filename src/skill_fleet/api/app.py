"""The web application: the routes, what stands around them, and how every error is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from skill_fleet import __version__
from skill_fleet.api import evaluation, events, health, optimization, planning, refusals, results, skills
from skill_fleet.api.dependencies import in_store
from skill_fleet.api.edge import Edge
from skill_fleet.api.hosts import is_loopback, own_names
from skill_fleet.api.keys import KeyGuard
from skill_fleet.api.limits import Bodies
from skill_fleet.api.metrics import Latency
from skill_fleet.api.openapi import describe
from skill_fleet.api.security import Gate

if TYPE_CHECKING:
    from skill_fleet.jobs.worker import RunningWorker
    from skill_fleet.services.service import Service

PREFIX = "/api/v2"


def create_app(
    service: "Service", *, worker: "RunningWorker | None" = None, bound: str = "127.0.0.1"
) -> FastAPI:
    """The application of a service.

    Layers, from outside: `Edge` (request id, headers, problem documents), `Gate` (Host, other sites, key),
    `Bodies` (size, time, JSON), then the routes.

    Args:
        service: What the routes may touch.
        worker: The worker in this process, for readiness; None where there is none. It may be set later as
            `app.state.worker`.
        bound: The address that is listened at: one of the names it answers to; where other machines reach
            it, nothing is answered without a key.

    Raises:
        ConfigError: `bound` stands for no address.
    """
    app = FastAPI(
        title="skill-fleet",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,  # `Bodies` has seen to it
        lifespan=_lifespan,
    )
    app.state.service = service
    app.state.worker = worker
    app.state.expects_worker = worker is not None
    app.state.stopping = asyncio.Event()
    app.state.latency = Latency()
    for routes in (optimization, planning, events, results, evaluation, skills):
        app.include_router(routes.router, prefix=PREFIX)
    app.include_router(health.router)
    refusals.tell_in_our_words(app)
    describe(app)
    _surround(app, service, bound)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.stopping.set()
    await app.state.service.dismiss()


def _surround(app: FastAPI, service: "Service", bound: str) -> None:
    """The layers; the one added last is the outermost."""
    settings, clock = service.context.settings.server, service.context.clock
    guard = KeyGuard(
        lambda presented: in_store(service, service.keys.find, presented),
        lambda key_id: in_store(service, service.keys.get, key_id),
        lambda: in_store(service, service.keys.any_good),
        lambda address, asked: in_store(service, service.audit.refused, address, asked),
        clock,
        always=not is_loopback(bound),
    )
    app.state.keys = guard
    app.add_middleware(Bodies, most=settings.max_body_bytes, seconds=settings.body_seconds)
    app.add_middleware(Gate, names=own_names(bound, settings.allowed_hosts), keys=guard)
    root = str(service.context.workspace.root)
    app.add_middleware(Edge, clock=clock, observe=app.state.latency.observe, root=root)
