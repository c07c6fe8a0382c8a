"""HTTP for one provider, around the transports of DSPy's own client: what a paid attempt must never do.

* It ends. Theirs bound the wait for the next byte, so a server that drips one a second is read for ever;
  here one clock runs over connecting, sending and reading.
* It goes to one origin: no redirect is followed, and no other host is asked, whatever an answer says.
* It is bounded: an answer over 64 MB is given up.
* It tells the headers of every response, which say how much of a limit is left.

Proxies of the environment are used as DSPy's client does, except for addresses of this machine. Nothing is
logged. The names used of the vendored client are not public: `usable` looks before they are relied on.
"""

import importlib.metadata
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from typing import Any

from dspy._vendor.lm15.transports import (
    AsyncTransportResponse,
    ReadTimeout,
    StdlibAsyncTransport,
    StdlibTransport,
    TransportRequest,
    TransportResponse,
    WriteTimeout,
)

from skill_fleet.llm.providers.attempt_rules import Rules
from skill_fleet.llm.providers.vendor_words import usual_form

_ERROR = 400
_OPEN = ("self", "parsed", "proxy", "origin", "connect_timeout")


def usable() -> bool:
    """Whether DSPy's client is one that this module was proven with: `tests/llm/test_transport.py`."""
    version = importlib.metadata.version("dspy")
    opening = getattr(StdlibTransport, "_open", None)
    known = opening is not None and tuple(inspect.signature(opening).parameters) == _OPEN
    known = known and "chunks" in inspect.signature(TransportResponse).parameters
    return known and version.startswith("3.4.")


class _Timed:
    """A socket whose every wait ends with the attempt it serves.

    An attempt begins when its request is written; which one that is stands in a variable of the thread.
    """

    __slots__ = ("_current", "_longest", "_socket", "_until")

    def __init__(self, opened: socket.socket, current: threading.local) -> None:
        self._socket = opened
        self._current = current
        self._until = 0.0
        self._longest: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._longest = seconds

    def sendall(self, data: bytes) -> None:
        self._until = self._current.until
        self._arm()
        self._socket.sendall(data)

    def recv(self, size: int) -> bytes:
        self._arm()
        return self._socket.recv(size)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _arm(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left if self._longest is None else min(left, self._longest))


class _Sockets(StdlibTransport):
    """DSPy's transport over timed sockets."""

    def __init__(self, current: threading.local, **options: Any) -> None:
        super().__init__(**options)
        self._current = current

    def _open(self, parsed: Any, *, proxy: Any, origin: Any, connect_timeout: float) -> Any:
        connection = super()._open(parsed, proxy=proxy, origin=origin, connect_timeout=connect_timeout)
        connection.sock = _Timed(connection.sock, self._current)
        return connection


class Transport:
    """What DSPy's synchronous client sends through; for any number of threads."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._current = threading.local()
        self._inner = _Sockets(self._current, **rules.options())

    def stream(self, request: TransportRequest) -> TransportResponse:
        """Send a request and read the head of the answer; its body is read as it is iterated."""
        rules = self._rules
        sent = rules.outgoing(request)
        until = self._current.until = time.monotonic() + rules.seconds
        try:
            response = self._inner.stream(sent)
        except (ReadTimeout, WriteTimeout) as error:
            raise rules.late() from error
        chunks = body = self._chunks(response, until)
        try:
            rules.incoming(response)
            if response.status >= _ERROR:
                body = _yielded(usual_form(b"".join(chunks)))
        except BaseException:
            next(chunks, None)  # a body that is never begun would keep its place in the pool
            chunks.close()
            response.close()
            raise
        return TransportResponse(
            status=response.status,
            reason=response.reason,
            headers=response.headers,
            http_version=response.http_version,
            chunks=body,
            release=lambda _: response.close(),
        )

    def _chunks(self, response: TransportResponse, until: float) -> Generator[bytes, None, None]:
        size, mender = 0, self._rules.mender()
        try:
            for chunk in response:
                size += len(chunk)
                self._rules.grown(size)
                if time.monotonic() > until:
                    raise self._rules.late()
                yield mender.feed(chunk)
            yield mender.rest()
        except ReadTimeout as error:
            raise self._rules.late() from error
        finally:
            # What is left unread gives its place in the pool back here, not when memory is next cleared up.
            response._chunks.close()  # noqa: SLF001 - see `usable`

    def close(self) -> None:
        """Close every connection."""
        self._inner.close()


class AsyncTransport:
    """The awaited twin; for one event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inner = StdlibAsyncTransport(**rules.options())

    @asynccontextmanager
    async def stream(self, request: TransportRequest) -> AsyncIterator[AsyncTransportResponse]:
        """Send a request and read the head of the answer; its body is read as it is iterated."""
        import asyncio

        rules = self._rules
        until = asyncio.get_running_loop().time() + rules.seconds
        try:
            async with asyncio.timeout_at(until):
                response = await self._inner.stream(rules.outgoing(request))
        except (TimeoutError, ReadTimeout, WriteTimeout) as error:
            raise rules.late() from error
        async with response:
            rules.incoming(response)
            chunks = self._chunks(response, until)
            yield AsyncTransportResponse(
                status=response.status,
                reason=response.reason,
                headers=response.headers,
                http_version=response.http_version,
                chunks=chunks if response.status < _ERROR else _error(chunks),
                release=lambda _: response.aclose(),
            )

    async def _chunks(self, response: AsyncTransportResponse, until: float) -> AsyncIterator[bytes]:
        import asyncio

        size, mender = 0, self._rules.mender()
        parts = aiter(response)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await anext(parts, None)
            except (TimeoutError, ReadTimeout) as error:
                raise self._rules.late() from error
            if chunk is None:
                break
            size += len(chunk)
            self._rules.grown(size)
            yield mender.feed(chunk)
        yield mender.rest()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


async def _error(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield usual_form(b"".join([chunk async for chunk in chunks]))


def _yielded(data: bytes) -> Generator[bytes, None, None]:
    yield data
