"""HTTP for one provider, around the transports of DSPy's own client: what a paid attempt must never do.

* It ends. Theirs bound the wait for the next byte, so a server that drips one a second is read for ever, and
  the look-up of a name is not bound at all; here one clock runs over connecting, sending and reading. It
  stands still while the reader of a stream takes his time: that is not the provider's.
* It goes to one origin: no redirect is followed, and no other host is asked, whatever an answer says.
* It is bounded: an answer over 64 MB is given up.
* It tells the headers of every response, which say how much of a limit is left.

Proxies of the environment are used as DSPy's client does, except for addresses of this machine. Nothing is
logged. The names used of the vendored client are not public: `known_inside` looks before they are relied on.
"""

import concurrent.futures
import contextvars
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

from dspy._vendor.lm15.transports import (
    AsyncTransportResponse,
    ConnectError,
    ConnectTimeout,
    ReadTimeout,
    StdlibAsyncTransport,
    StdlibTransport,
    TransportError,
    TransportRequest,
    TransportResponse,
    WriteTimeout,
)

from skill_fleet.llm.providers.attempt_rules import Rules
from skill_fleet.llm.providers.vendor_words import usual_form

_ERROR = 400


class _Attempt:
    """One attempt's clock.

    Attributes:
        until: When its time is over.
        begun: Whether anything of the request may have been sent.
    """

    __slots__ = ("begun", "rules", "until")

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules = rules
        self.until = now + rules.seconds
        self.begun = False

    def unconnected(self) -> ConnectTimeout:
        """That its time is over before the provider heard anything of it."""
        return ConnectTimeout(f"No connection within {self.rules.seconds:g} s (the model's timeout).")

    def unsent(self, error: TransportError, now: float) -> TransportError | None:
        """An error that tells that nothing was sent, for one that does not; None where it may have been.

        Where no connection becomes free DSPy's transport raises what a break in an answer is, too.
        """
        if self.begun or isinstance(error, ConnectError):
            return None
        return self.unconnected() if now >= self.until else ConnectError(str(error))


class _Timed:
    """A socket whose every wait ends with the attempt it serves.

    Which one that is stands in a variable of the thread when its request is written.
    """

    __slots__ = ("_attempt", "_current", "_longest", "_socket")

    def __init__(self, opened: socket.socket, current: threading.local) -> None:
        self._socket = opened
        self._current = current
        self._attempt: _Attempt = current.attempt
        self._longest: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._longest = seconds

    def sendall(self, data: bytes) -> None:
        self._attempt = self._current.attempt
        if not self._attempt.begun and time.monotonic() >= self._attempt.until:
            raise self._attempt.unconnected()
        self._attempt.begun = True
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
        left = self._attempt.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left if self._longest is None else min(left, self._longest))


class _Sockets(StdlibTransport):
    """DSPy's transport over timed sockets."""

    def __init__(self, current: threading.local, **options: Any) -> None:
        super().__init__(**options)
        self._current = current

    def _open(self, parsed: Any, *, proxy: Any, origin: Any, connect_timeout: float) -> Any:
        attempt: _Attempt = self._current.attempt
        opening = super()._open
        options = {"proxy": proxy, "origin": origin, "connect_timeout": connect_timeout}
        connection = _within(attempt, lambda: opening(parsed, **options))
        connection.sock = _Timed(connection.sock, self._current)
        return connection


def _within(attempt: _Attempt, opening: Callable[[], Any]) -> Any:
    """A connection that is there before an attempt's time is over.

    Looking a name up cannot be bounded nor broken off, and every address of a name may take the whole time to
    connect: so all of it is done in a thread, which is left behind when the time is over.
    """
    landing: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def work() -> None:
        try:
            connection = opening()
        except BaseException as error:  # noqa: BLE001 - passed on to who waits
            if landing.set_running_or_notify_cancel():
                landing.set_exception(error)
            return
        if landing.set_running_or_notify_cancel():
            landing.set_result(connection)
        else:
            connection.close()

    threading.Thread(target=work, name="connecting", daemon=True).start()
    try:
        return landing.result(max(0.0, attempt.until - time.monotonic()))
    except concurrent.futures.TimeoutError as error:
        if not landing.cancel():  # it came in the same moment
            return landing.result()
        raise attempt.unconnected() from error
    except BaseException:
        if not landing.cancel() and landing.exception() is None:
            landing.result().close()
        raise


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
        attempt = self._current.attempt = _Attempt(rules, time.monotonic())
        try:
            response = self._inner.stream(sent)
        except (ReadTimeout, WriteTimeout) as error:
            raise rules.late() from error
        except TransportError as error:
            if (unsent := attempt.unsent(error, time.monotonic())) is not None:
                raise unsent from error
            raise
        chunks = body = self._chunks(response, attempt)
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

    def _chunks(self, response: TransportResponse, attempt: _Attempt) -> Generator[bytes, None, None]:
        size, mender = 0, self._rules.mender()
        try:
            for chunk in response:
                size += len(chunk)
                self._rules.grown(size)
                given = time.monotonic()
                yield mender.feed(chunk)
                attempt.until += time.monotonic() - given
            yield mender.rest()
        except ReadTimeout as error:
            raise self._rules.late() from error
        finally:
            # What is left unread gives its place in the pool back here, not when memory is next cleared up.
            response._chunks.close()  # noqa: SLF001 - see `known_inside`

    def close(self) -> None:
        """Close every connection."""
        self._inner.close()


_ATTEMPT: contextvars.ContextVar[_Attempt] = contextvars.ContextVar("attempt")


class _Streams(StdlibAsyncTransport):
    """DSPy's awaited transport, which notes when the first byte may have been sent."""

    async def _send_request(self, *args: Any, **options: Any) -> None:
        _ATTEMPT.get().begun = True
        await super()._send_request(*args, **options)


class AsyncTransport:
    """The awaited twin; for one event loop."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._inner = _Streams(**rules.options())

    @asynccontextmanager
    async def stream(self, request: TransportRequest) -> AsyncIterator[AsyncTransportResponse]:
        """Send a request and read the head of the answer; its body is read as it is iterated."""
        import asyncio

        rules = self._rules
        attempt = _Attempt(rules, asyncio.get_running_loop().time())
        current = _ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout_at(attempt.until):
                response = await self._inner.stream(rules.outgoing(request))
        except (TimeoutError, ReadTimeout, WriteTimeout) as error:
            raise (rules.late() if attempt.begun else attempt.unconnected()) from error
        except TransportError as error:
            if (unsent := attempt.unsent(error, asyncio.get_running_loop().time())) is not None:
                raise unsent from error
            raise
        finally:
            _ATTEMPT.reset(current)
        async with response:
            rules.incoming(response)
            chunks = self._chunks(response, attempt)
            yield AsyncTransportResponse(
                status=response.status,
                reason=response.reason,
                headers=response.headers,
                http_version=response.http_version,
                chunks=chunks if response.status < _ERROR else _error(chunks),
                release=lambda _: response.aclose(),
            )

    async def _chunks(self, response: AsyncTransportResponse, attempt: _Attempt) -> AsyncIterator[bytes]:
        import asyncio

        loop = asyncio.get_running_loop()
        size, mender = 0, self._rules.mender()
        parts = aiter(response)
        while True:
            try:
                async with asyncio.timeout_at(attempt.until):
                    chunk = await anext(parts, None)
            except (TimeoutError, ReadTimeout) as error:
                raise self._rules.late() from error
            if chunk is None:
                break
            size += len(chunk)
            self._rules.grown(size)
            given = loop.time()
            yield mender.feed(chunk)
            attempt.until += loop.time() - given
        yield mender.rest()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()


async def _error(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield usual_form(b"".join([chunk async for chunk in chunks]))


def _yielded(data: bytes) -> Generator[bytes, None, None]:
    yield data
