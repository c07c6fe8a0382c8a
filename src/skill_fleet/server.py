"""The server: the web application and a worker in one process, from the first byte to the last."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import uvicorn
from typing_extensions import override

from skill_fleet.api.app import create_app
from skill_fleet.api.hosts import is_loopback
from skill_fleet.api.junk import quiet_junk
from skill_fleet.foundation.errors import ConfigError, SkillFleetError, UsageError
from skill_fleet.services.context import Context
from skill_fleet.services.working import start_worker

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI

    from skill_fleet.jobs.worker_lock import WorkerLock
    from skill_fleet.services.service import Service

LOG = logging.getLogger("skill_fleet.server")
GRACE_SECONDS = 2
"""How long answers under way may take when the server stops."""
WORKER_STOP_SECONDS = 4.0
STOP_SECONDS = 4.8
"""After this the process ends whatever still runs: a job that was not handed back is taken over."""
BACKLOG = 512


def serve(
    context: Context,
    host: str | None = None,
    port: int | None = None,
    *,
    worker: bool = True,
    as_json: bool = False,
    log_level: str = "warning",
) -> None:
    """Serve until SIGINT or SIGTERM; then everything is gone within five seconds, jobs handed back.

    Prints one line with the address on stdout as soon as it listens; with `as_json` a JSON object with `url`,
    `pid` and `worker`. Everything else goes to stderr.

    Args:
        context: The workspace.
        host: Address to listen at; None is the configured one.
        port: Port to listen at, 0 a free one; None is the configured one.
        worker: Whether this process also runs jobs.
        as_json: The form of the line.
        log_level: Of what is logged to stderr.

    Raises:
        ConfigError: Other machines could reach the address, and there is no key.
        UsageError: The address cannot be listened at.
        StorageError: The database cannot be used, or another process is this workspace's worker.
    """
    from skill_fleet.jobs.database import prepare_database
    from skill_fleet.services.service import open_service

    _log_to_stderr(log_level)
    settings = context.settings.server
    host, port = host or settings.host, settings.port if port is None else port
    service = open_service(context)
    with contextlib.closing(service), _stoppable():
        _refuse_an_open_door(service, host)
        with contextlib.closing(_listener(host, port)) as listener, contextlib.ExitStack() as held:
            prepare_database(service.database)
            # First: who says that it serves must not find out afterwards that it cannot.
            lock = held.enter_context(_work_taken(service)) if worker else None
            app = create_app(service, bound=host)
            server = _Server(app, listener, starts_worker=worker, lock=lock, as_json=as_json)
            try:
                server.run(sockets=[listener])
            except KeyboardInterrupt:  # uvicorn raises the signal again after it stopped for it
                if not server.started:
                    raise
            if server.failure is not None:
                raise server.failure


class _Server(uvicorn.Server):
    """uvicorn, which also says where it listens, starts the worker beside, and stops it first.

    Attributes:
        failure: Why it stopped by itself; None where it was told to.
    """

    def __init__(
        self,
        app: "FastAPI",
        listener: socket.socket,
        *,
        starts_worker: bool,
        lock: "WorkerLock | None" = None,
        as_json: bool,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_protocol(),
                ws="none",
                loop="auto",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # else any client of this machine could name another address
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=BACKLOG,
            )
        )
        self.failure: SkillFleetError | None = None
        self._app = app
        self._listener = listener
        self._starts_worker = starts_worker
        self._lock = lock
        self._as_json = as_json
        self._starting: asyncio.Task[None] | None = None
        app.state.expects_worker = starts_worker

    @override
    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(sockets=list(sockets or ()))
        if self._starts_worker:
            self._starting = asyncio.create_task(self._start_worker())
        _here_to_stay()
        _announce(self._listener, worker=self._starts_worker, as_json=self._as_json)

    @override
    async def shutdown(self, sockets: Sequence[socket.socket] | None = None) -> None:
        _leave_within(STOP_SECONDS)
        self._app.state.stopping.set()
        worker = asyncio.create_task(self._stop_worker())
        await super().shutdown(sockets=list(sockets or ()))
        await worker
        gc.unfreeze()

    async def _start_worker(self) -> None:
        """The queue takes a second to import: requests are served meanwhile, and `readyz` says so."""
        service = self._app.state.service
        try:
            self._app.state.worker = await asyncio.to_thread(
                start_worker, service.context, service.database, self._lock
            )
            await asyncio.to_thread(_here_to_stay)
        except SkillFleetError as error:
            self.failure = error
        except Exception as error:  # the edge of a thread: a bug there ends the server too
            LOG.exception("The worker did not start.")
            self.failure = SkillFleetError(
                f"The worker did not start: {type(error).__name__}.",
                hint="The log has the traceback.",
                code="bug",
            )
        if self.failure is not None:
            self.should_exit = True

    async def _stop_worker(self) -> None:
        if self._starting is not None:
            await self._starting
        if self._app.state.worker is not None:
            await asyncio.to_thread(self._app.state.worker.stop, WORKER_STOP_SECONDS)


def _protocol() -> type[asyncio.Protocol] | str:
    try:
        from skill_fleet.api.connections import BoundedProtocol
    except ImportError:  # no httptools on this system: h11 at least bounds the size of a header
        return "h11"
    return BoundedProtocol


def _here_to_stay() -> None:
    """What is loaded by now, some hundred thousand objects, is garbage only when the process ends.

    Looking through all of it takes a tenth of a second in which nobody is answered, and a large request has
    it looked through several times.
    """
    gc.collect()
    gc.freeze()


def _leave_within(seconds: float) -> None:
    """See to it that no thread keeps the process."""

    def leave() -> None:
        LOG.error("The server did not stop in %g seconds and is ended.", seconds)
        os._exit(1)

    watchdog = threading.Timer(seconds, leave)
    watchdog.daemon = True
    watchdog.start()


def _announce(listener: socket.socket, *, worker: bool, as_json: bool) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    words: Mapping[str, Any] = {"url": url, "pid": os.getpid(), "worker": worker}
    sys.stdout.write((json.dumps(words) if as_json else f"Serving at {url}") + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _work_taken(service: "Service") -> "Iterator[WorkerLock | None]":
    """The right to be this workspace's worker; let go of at the end, where the worker has not done so."""
    from skill_fleet.jobs.worker import take_work

    lock = take_work(service.database)
    try:
        yield lock
    finally:
        if lock is not None:
            lock.release()


def _refuse_an_open_door(service: "Service", host: str) -> None:
    if not is_loopback(host) and not service.keys.any_good():
        raise ConfigError(
            f"Other machines could reach the host '{host}', and there is no key yet.",
            hint="Make one: skill-fleet keys create NAME --scope run. Or listen at 127.0.0.1.",
        )


def _listener(host: str, port: int) -> socket.socket:
    """A socket bound to an address; it listens only when the server is ready."""
    if not 0 <= port <= 65535:
        raise UsageError(f"A port is a number from 0 to 65535, not {port}.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # "localhost" is both; what people type into other tools is the older.
        family, kind, protocol, _, address = min(found, key=lambda place: place[0] != socket.AF_INET)
        with contextlib.ExitStack() as unless_bound:
            listener = unless_bound.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            unless_bound.pop_all()
    except OSError as error:
        raise UsageError(
            f"The server cannot listen at {host}:{port}: {error.strerror or error}.",
            hint="Choose another with --port; 0 takes a free one.",
        ) from None
    return listener


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM before the server listens ends as Ctrl-C does; uvicorn has its own handlers while it serves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: "FrameType | None") -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_to_stderr(level: str) -> None:
    quiet_junk()
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("skill_fleet", "uvicorn.error"):
        logging.getLogger(name).setLevel(level.upper())
