"""The web application: the routes, what stands around them, and how every error is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from skill_fleet import __version__

if TYPE_CHECKING:
    from skill_fleet.jobs.worker import RunningWorker
    from skill_fleet.services.service import Service

PREFIX = "/api/v2"


def create_app(service: "Service", *, worker: "RunningWorker | None" = None) -> FastAPI:
    """The application of a service.

    Args:
        service: What the routes may touch.
        worker: The worker in this process, for readiness; None where there is none.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.stopping.set()

    app = FastAPI(
        title="skill-fleet",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.worker = worker
    app.state.stopping = asyncio.Event()
    return app
