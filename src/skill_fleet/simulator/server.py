"""The simulated provider as a server: from the listening socket to the last line of the ledger."""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from skill_fleet.foundation.addresses import is_loopback_address
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import SkillFleetError, UsageError
from skill_fleet.simulator.bodies import bug
from skill_fleet.simulator.changing import changed
from skill_fleet.simulator.deciding import JSON, Decider
from skill_fleet.simulator.ledger import Ledger, Record, Totals
from skill_fleet.simulator.routes import Routes
from skill_fleet.simulator.settings import MAX_BODY_BYTES, SimulatorSettings
from skill_fleet.simulator.wire import Connection, HttpRequest

LOG = logging.getLogger("skill_fleet.simulator")
BACKLOG = 1024
# `create_server` makes an OSError of a name that cannot be looked up, with the resolver's number.
_NO_ADDRESS = frozenset(
    {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL}
)


class Simulator:
    """One simulated provider.

    Args:
        settings: How it behaves.
        clock: For limits and times.

    Raises:
        UsageError: The address cannot be listened at.
        StorageError: The ledger's file cannot be written.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock = SYSTEM_CLOCK) -> None:
        self._listener = _listening(settings.host, settings.port)
        try:
            self.ledger = Ledger(settings.price, settings.ledger)
        except BaseException:
            self._listener.close()
            raise
        self._decider = Decider(settings, self.ledger, clock)
        self._routes = Routes(self._decider, clock, self._after_each)
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._told_to_stop = False
        self._error: Exception | None = None

    @property
    def url(self) -> str:
        """Where a client finds it: the `api_base`."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    @property
    def reached_by_others(self) -> bool:
        """Whether it listens at an address that is not this machine's alone."""
        return not is_loopback_address(str(self._listener.getsockname()[0]))

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until it is stopped, or has served what it was to.

        Args:
            ready: Called once it answers.

        Raises:
            StorageError: The ledger's file could not be written any more.
        """
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve(ready))

    def stop(self) -> None:
        """Stop; from any thread or signal, also before it serves. Connections are closed as they are."""
        self._told_to_stop = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has stopped by itself meanwhile
                loop.call_soon_threadsafe(self._stop.set)

    def change(self, value: Mapping[str, Any]) -> None:
        """Change settings while it runs; from any other thread. As of `POST /simulator/settings`.

        Raises:
            UnknownName: There is no such setting.
            UsageError: A value is of another type or out of range.
            RuntimeError: It does not run.
        """

        async def change() -> None:
            self._decider.change(changed(self._decider.settings, value))

        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("The simulated provider does not run.")
        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        if self._told_to_stop:  # while there was no loop to tell
            self._stop.set()
        server = await self._loop.create_server(
            lambda: Connection(self._handle, MAX_BODY_BYTES, self._connections),
            sock=self._listener,
            backlog=BACKLOG,
        )
        try:
            ready()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._decider.settings.max_seconds):
                    await self._stop.wait()
        finally:
            self._stop.set()
            server.close()
            for connection in list(self._connections):
                connection.cut()
            self.ledger.close()
        if self._error is not None:
            raise self._error

    async def _handle(self, request: HttpRequest, connection: Connection) -> None:
        if self._stop.is_set():
            return  # its connection ends unanswered: the books are closed, or about to be
        try:
            await self._routes.handle(request, connection)
        except SkillFleetError as error:
            self._error = self._error or error
            self._stop.set()
            connection.reset()
        except Exception as error:  # noqa: BLE001 - one request's bug is told to its client, and the others go on
            told = bug(error)
            LOG.error(told.message)  # noqa: TRY400 - one line
            if connection.begun:
                connection.reset()
            else:
                await connection.respond(told.status, [JSON], told.body())

    def _after_each(self) -> None:
        most = self._decider.settings.max_requests
        if most is not None and self.ledger.requests >= most and not self.ledger.under_way:
            self._stop.set()


class Running:
    """A simulated provider that serves in a thread of this process."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.url = simulator.url

    def totals(self) -> Totals:
        """The sum of all requests so far."""
        return self._simulator.ledger.totals()

    def records(self) -> list[Record]:
        """The records of the requests, oldest first."""
        return self._simulator.ledger.records()

    def change(self, **settings: Any) -> None:
        """Change settings while it runs: `change(faults={"server_error": 1}, die_after=None)`."""
        self._simulator.change(settings)


@contextlib.contextmanager
def running(settings: SimulatorSettings | None = None, clock: Clock = SYSTEM_CLOCK) -> Iterator[Running]:
    """A simulated provider for as long as the block lasts.

    Args:
        settings: How it behaves; None is without limits and faults.
        clock: For limits and times.

    Raises:
        UsageError: The address cannot be listened at.
        StorageError: The ledger's file cannot be written.
    """
    simulator = Simulator(settings or SimulatorSettings(), clock)
    listening = threading.Event()
    failed: list[Exception] = []

    def serve() -> None:
        try:
            simulator.serve(listening.set)
        except Exception as error:  # noqa: BLE001 - raised where the block ends
            failed.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=serve, name="simulated provider", daemon=True)
    thread.start()
    listening.wait()
    try:
        yield Running(simulator)
    finally:
        simulator.stop()
        thread.join()
    if failed:
        raise failed[0]


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason, hint = _why_not(error)
        raise UsageError(f"Cannot listen at {host}, port {port}: {reason}.", hint=hint) from None


def _why_not(error: OSError) -> tuple[str, str]:
    """Why, and what to do; the words of Python repeat the address as a tuple."""
    if isinstance(error, socket.gaierror) or error.errno in _NO_ADDRESS:
        return "this machine has no such address", "Choose another --host; 127.0.0.1 is this machine alone."
    reason = os.strerror(error.errno) if error.errno else str(error)
    return reason[:1].lower() + reason[1:], "Choose another --port; 0 takes a free one."


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster loop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
