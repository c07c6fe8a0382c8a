"""HTTP connections that nobody can hold open for nothing: headers bounded in time and size, bodies in time.

uvicorn bounds neither the time nor the size of a header. Its protocol is extended here by the names that it
and httptools call from outside: the callbacks of a protocol and of a parser. Needs httptools.
"""

from asyncio import TimerHandle
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skill_fleet.api.problems import KINDS, MEDIA_TYPE, problem

HEADER_SECONDS = 10.0
HEADER_BYTES = 32 * 1024
LINGER_SECONDS = 5.0
"""For how long the rest of a body is taken in, unread, after its request was refused."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection with bounds. Says what is wrong as a problem document, then closes."""

    header_seconds = HEADER_SECONDS
    _timer: TimerHandle | None = None
    _in_header = True
    _in_message = False
    _header_bytes = 0

    @override
    def connection_made(self, transport: Any) -> None:
        """A client is there: its first header is awaited."""
        super().connection_made(transport)
        self._wait(self.header_seconds, self._too_slow)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._wait(None)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """Bytes came; those of a header are counted."""
        if not self._in_message and self._timer is None:  # the next request of a kept connection
            self._wait(self.header_seconds, self._too_slow)
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._refuse("headers_too_large", f"The header is larger than {HEADER_BYTES} bytes.")

    @override
    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_message = True
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        """Its header is complete; the application is called, which bounds the body."""
        self._in_header = False
        self._wait(None)
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        """Its body is complete."""
        self._in_message, self._in_header, self._header_bytes = False, True, 0
        self._wait(None)
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        """It is answered, perhaps before its body was complete."""
        super().on_response_complete()
        if self._in_message and not self.transport.is_closing():
            self._wait(LINGER_SECONDS, self.transport.close)

    @override
    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._refuse("bad_request", msg)

    def _too_slow(self) -> None:
        if self._header_bytes and not self.transport.is_closing():
            self._refuse("slow_header", f"The header was not complete after {self.header_seconds:g} seconds.")
        else:
            self.transport.close()

    def _refuse(self, code: str, detail: str) -> None:
        """Answer without the application, and end the connection."""
        self._wait(None)
        if self.cycle is None or self.cycle.response_complete:  # else it would stand inside another answer
            status = HTTPStatus(KINDS[code].status)
            body = bytes(problem(code, detail).body)
            head = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: {MEDIA_TYPE}\r\n"
            self.transport.write(f"{head}Content-Length: {len(body)}\r\n".encode())
            self.transport.write(b"Connection: close\r\n\r\n" + body)
        self.transport.close()

    def _wait(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None or then is None else self.loop.call_later(seconds, then)
