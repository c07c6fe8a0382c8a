"""The real service behind a real socket: what a client sees, over HTTP."""

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from skill_fleet.api.app import create_app
from skill_fleet.jobs.database import prepare_database
from skill_fleet.services.context import open_context
from skill_fleet.services.service import Service, open_service

ROOT = Path(__file__).resolve().parents[2]
API = "/api/v2"


def make_workspace(root: Path) -> Path:
    """A workspace with the shipped library and training set."""
    for part in ("skills", "config"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("optimized"))
    return root


@contextlib.contextmanager
def opened(root: Path, **environ: str) -> Iterator[Service]:
    """The service of a workspace, with all tables."""
    service = open_service(open_context(root, environ={"PATH": "/usr/bin:/bin", **environ}))
    try:
        prepare_database(service.database)
        yield service
    finally:
        service.close()


class _Server(uvicorn.Server):
    """Ends open streams as it stops, as the real one does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.stopping.set()
        await super().shutdown(sockets)


@contextlib.contextmanager
def serving(service: Service) -> Iterator[str]:
    """The address of a server of a service, in a thread."""
    config = uvicorn.Config(
        create_app(service), log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextlib.contextmanager
def client(address: str, **options: Any) -> Iterator[httpx2.Client]:
    """A client of a server; paths begin at the API."""
    with httpx2.Client(base_url=f"{address}{API}", timeout=100, **options) as made:
        yield made


def events_of(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The events of a stream, as a browser would read them."""
    event: dict[str, str] = {}
    for line in lines:
        if not line:
            if event.get("data"):
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
