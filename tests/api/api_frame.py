"""The smallest service the frame of the app can stand around, and an app of it with a few routes."""

import contextlib
import hashlib
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Body, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from skill_fleet.api.app import create_app
from skill_fleet.api.connections import BoundedProtocol
from skill_fleet.api.dependencies import CallerDep
from skill_fleet.config.load import load
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.records import ApiKey
from skill_fleet.services.context import Context


@dataclass
class Keys:
    """Keys in memory: secret -> key."""

    good: dict[str, ApiKey] = field(default_factory=dict)
    asked: int = 0

    def add(self, secret: str, *scopes: str) -> ApiKey:
        name = hashlib.sha256(secret.encode()).hexdigest()[:8]
        key = ApiKey(name, name, scopes, None, None, 0.0, None, None)
        self.good[secret] = key
        return key

    def find(self, presented: str) -> ApiKey | None:
        self.asked += 1
        return self.good.get(presented)

    def any_good(self) -> bool:
        return bool(self.good)


@dataclass
class Audit:
    """Keeps what was refused."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def refused(self, address: str, why: str) -> bool:
        self.lines.append((address, why))
        return True


@dataclass
class HandClock:
    """A clock moved by hand."""

    at: float = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


async def _nothing() -> None:
    """There is no helper to dismiss."""


class Number(BaseModel, extra="forbid"):
    """A body with a field."""

    number: int


def frame(folder: Path, clock: Clock, *, bound: str = "127.0.0.1", **environ: str) -> FastAPI:
    """The app around a few routes that show what comes through."""
    context = Context(load(folder, environ=environ), clock)
    service: Any = types.SimpleNamespace(
        context=context,
        dismiss=_nothing,
        keys=Keys(),
        audit=Audit(),
        database=types.SimpleNamespace(is_sqlite=True),
    )
    app = create_app(service, bound=bound)
    app.include_router(_routes())
    return app


def client_of(app: FastAPI) -> TestClient:
    """A client of an app, in this process; what a route raises does not come through."""
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def _routes() -> APIRouter:
    router = APIRouter(prefix="/probe")

    @router.get("/item/{name}")
    async def item(name: str, caller: CallerDep) -> dict[str, Any]:
        return {"name": name, "owner": caller.owner, "scopes": caller.scopes}

    @router.post("/item/{name}")
    async def change(name: str) -> dict[str, str]:
        return {"name": name}

    @router.post("/echo")
    async def echo(body: Annotated[Any, Body()]) -> Any:
        return {"body": body}

    @router.post("/number")
    async def number(body: Number) -> int:
        return body.number

    @router.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret inside")

    @router.get("/raise/{code}")
    async def refuse(code: str) -> None:
        raise SkillFleetError("It went wrong in /nowhere.", hint="Try again.", code=code)

    return router


@contextlib.contextmanager
def listening(app: FastAPI, header_seconds: float = 0.5) -> Iterator[tuple[str, int]]:
    """The app behind a real socket, in a thread; the address."""

    class Quick(BoundedProtocol):
        pass

    Quick.header_seconds = header_seconds
    options: dict[str, Any] = {"http": Quick, "ws": "none", "log_config": None, "access_log": False}
    options["timeout_keep_alive"] = 60
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, server_header=False, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()
