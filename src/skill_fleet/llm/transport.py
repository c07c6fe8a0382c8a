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
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from dspy import lm15
from dspy._vendor.lm15.transports import (
    AsyncTransportResponse,
    ReadTimeout,
    StdlibAsyncTransport,
    StdlibTransport,
    TransportRequest,
    TransportResponse,
    WriteTimeout,
)

from skill_fleet.llm.routes import LONGEST_ATTEMPT, is_loopback, origin_of
from skill_fleet.llm.vendor_words import usual_form

OnHeaders = Callable[[Mapping[str, str]], None]

LARGEST_ANSWER = 64 * 2**20
"""Bytes of the longest answer that is read."""
CONNECTIONS = 512
"""Most connections at once: more than the 256 threads that a run may have."""
_CONNECT = 10.0
_ERROR = 400
_OPEN = ("self", "parsed", "proxy", "origin", "connect_timeout")


def usable() -> bool:
    """Whether DSPy's client is one that this module was proven with: `tests/llm/test_transport.py`."""
    version = importlib.metadata.version("dspy")
    opening = getattr(StdlibTransport, "_open", None)
    known = opening is not None and tuple(inspect.signature(opening).parameters) == _OPEN
    known = known and "chunks" in inspect.signature(TransportResponse).parameters
    return known and version.startswith("3.4.")


class Rules:
    """What holds for every request to one provider.

    Args:
        address: Where it answers; everything else of the same origin may be asked too.
        seconds: For one attempt, from the beginning of the request to the last byte of the answer.
        on_headers: Told the headers of every response, names in lower case.
        login: Sent in place of a key, where the address asks for a user name and a password.
    """

    def __init__(
        self, address: str, seconds: float, on_headers: OnHeaders | None = None, login: str | None = None
    ) -> None:
        self.origin = origin_of(address)
        self.direct = is_loopback(address)
        self.seconds = min(seconds, LONGEST_ATTEMPT)
        self._on_headers = on_headers
        self._login = login

    def options(self) -> dict[str, Any]:
        """How a transport of DSPy's client is made."""
        return {
            "connect_timeout": min(_CONNECT, self.seconds),
            "read_timeout": self.seconds,
            "write_timeout": self.seconds,
            "pool_timeout": self.seconds,
            "max_connections": CONNECTIONS,
            "user_agent": "skill-fleet",
            "trust_env": not self.direct,
        }

    def outgoing(self, request: TransportRequest) -> TransportRequest:
        """The request as it may be sent.

        Raises:
            dspy.lm15.ConfigurationError: It would go to another origin.
        """
        if origin_of(request.url) != self.origin:
            raise lm15.ConfigurationError(
                f"A request to {_shown(origin_of(request.url))} was refused: the configured address is "
                f"{_shown(self.origin)}."
            )
        if self._login is not None:
            kept = [pair for pair in request.headers if pair[0].lower() != "authorization"]
            request.headers = [*kept, ("Authorization", self._login)]
        return request

    def incoming(self, response: TransportResponse | AsyncTransportResponse) -> None:
        """Look at the head of a response.

        Raises:
            dspy.lm15.ConfigurationError: It sends us elsewhere.
        """
        if self._on_headers is not None:
            self._on_headers({name.lower(): value for name, value in response.headers})
        if 300 <= response.status < 400:
            raise lm15.ConfigurationError(
                f"{_shown(self.origin)} answered with a redirect (HTTP {response.status}), which is not "
                "followed: api_base must name the address that answers itself.",
                status=response.status,
            )

    def grown(self, size: int) -> None:
        """An answer has so many bytes.

        Raises:
            dspy.lm15.ProviderError: More than any answer has.
        """
        if size > LARGEST_ANSWER:
            raise lm15.ProviderError(f"The answer is longer than {LARGEST_ANSWER // 2**20} MB.")

    def late(self) -> lm15.TimeoutError:
        """That the attempt's time is over; the provider may have done the work, and billed it."""
        return lm15.TimeoutError(f"No complete answer within {self.seconds:g} s (the model's timeout).")


def _shown(origin: tuple[str, str, int]) -> str:
    scheme, host, port = origin
    return f"{scheme}://{host}:{port}"


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
        size = 0
        try:
            for chunk in response:
                size += len(chunk)
                self._rules.grown(size)
                if time.monotonic() > until:
                    raise self._rules.late()
                yield chunk
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

        size = 0
        parts = aiter(response)
        while True:
            try:
                async with asyncio.timeout_at(until):
                    chunk = await anext(parts, None)
            except (TimeoutError, ReadTimeout) as error:
                raise self._rules.late() from error
            if chunk is None:
                return
            size += len(chunk)
            self._rules.grown(size)
            yield chunk

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


async def _error(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield usual_form(b"".join([chunk async for chunk in chunks]))


def _yielded(data: bytes) -> Generator[bytes, None, None]:
    yield data
