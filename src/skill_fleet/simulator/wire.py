"""HTTP/1.1 on a socket, down to the byte: what a web server would not let a fault do to its answers."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import h11
from typing_extensions import override

from skill_fleet.simulator.bodies import ApiError

Headers = list[tuple[str, str]]
Sent = h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage
_DROP_AT_CLOSE = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER of no seconds: closing throws away what is unsent and resets the connection."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request, whole.

    Attributes:
        method: In capitals.
        target: Path and query.
        headers: By name in lower case; the last one wins.
        body: All of it; nothing of one that is refused.
        peer: Address of the client.
        refusal: Why its body was not read to the end; the connection ends with the answer.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    peer: str
    refusal: ApiError | None = None


Handler = Callable[[HttpRequest, "Connection"], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client's connection, kept alive from request to request.

    Args:
        handler: Answers a request by the methods here; one at a time.
        max_body: Longest body, in bytes.
        open_connections: The connection is in it while it is open.
    """

    def __init__(self, handler: Handler, max_body: int, open_connections: "set[Connection]") -> None:
        self._handler = handler
        self._max_body = max_body
        self._all = open_connections
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: asyncio.Future[None] | None = None
        self.gone = False

    # -- what the event loop tells

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # written means handed to the kernel
        self._all.add(self)
        name = transport.get_extra_info("peername")
        self._peer = str(name[0]) if name else ""

    @override
    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        if self._task is None:
            self._advance()
        elif len(self._http.trailing_data[0]) > self._max_body:
            self.reset()

    @override
    def eof_received(self) -> None:
        self._leave()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._leave()

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    def _leave(self) -> None:
        self.gone = True
        self._writable.set()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # -- reading

    def _advance(self) -> None:
        try:
            while self._task is None and not self._transport.is_closing():
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    self.cut()
                    return
                self._take(event)
        except h11.RemoteProtocolError as error:
            self._refuse(
                ApiError(
                    error.error_status_hint, f"The request is no HTTP: {error}.", "invalid_request_error"
                )
            )

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._head, self._body = event, bytearray()
        elif isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) > self._max_body:
                self._body = bytearray()
                said = f"The body is longer than {self._max_body} bytes."
                self._hand_over(ApiError(413, said, "invalid_request_error"))
        elif isinstance(event, h11.EndOfMessage):
            self._hand_over()

    def _hand_over(self, refusal: ApiError | None = None) -> None:
        """Have the request answered that was read, or was not to be read to its end."""
        head = self._head
        if head is None:
            return
        request = HttpRequest(
            head.method.decode("ascii").upper(),
            head.target.decode("latin-1"),
            {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            bytes(self._body),
            self._peer,
            refusal,
        )
        self._body = bytearray()
        self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: HttpRequest) -> None:
        await self._handler(request, self)
        self._task = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE and not self.gone:
            self._http.start_next_cycle()
            self._advance()
        else:
            self.cut()

    def _refuse(self, error: ApiError) -> None:
        """An answer to what cannot be read to its end; nothing more is read."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [("content-type", "application/json"), ("connection", "close")]
            body = error.body()
            self._send(_response(error.status, [*headers, ("content-length", str(len(body)))]))
            self._send(h11.Data(data=body))
            self._send(h11.EndOfMessage())
        self.cut()

    # -- answering

    async def respond(self, status: int, headers: Headers, body: bytes) -> bool:
        """A whole answer.

        Returns:
            Whether the client was there until it was written.
        """
        self.begin(status, [*headers, ("content-length", str(len(body)))])
        whole = self._head is None or self._head.method != b"HEAD"
        return await self.send([body] if whole else []) and await self.finish()

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer; chunked where `headers` have no length."""
        if not self.gone:
            unread = self._http.their_state is h11.SEND_BODY
            self._send(_response(status, [*headers, ("connection", "close")] if unread else headers))

    async def send(self, parts: Iterable[bytes]) -> bool:
        """Parts of the body, each as it is taken; whether the client is still there."""
        for part in parts:
            if self._over:
                return False
            self._send(h11.Data(data=part))
            await self._writable.wait()
        return not self._over

    async def finish(self) -> bool:
        """The end of the answer; whether the client was there for it."""
        if self._over:
            return False
        self._send(h11.EndOfMessage())
        await self._writable.wait()
        return not self._over

    async def pause(self, seconds: float) -> bool:
        """Wait; whether the client is still there. Ends at once when it leaves."""
        if seconds > 0 and not self._over:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(seconds, _done, self._waiting)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return not self._over

    def cut(self) -> None:
        """Close the connection once what was written is sent."""
        self._transport.close()

    def reset(self) -> None:
        """Reset the connection: the client reads an error, not an end."""
        found = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the client may have closed it already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_AT_CLOSE)
        self._transport.abort()

    @property
    def begun(self) -> bool:
        """Whether the head of an answer was sent."""
        return self._http.our_state is not h11.SEND_RESPONSE

    @property
    def _over(self) -> bool:
        return self.gone or self._transport.is_closing()

    def _send(self, event: Sent) -> None:
        data = self._http.send(event)
        if data and not self._transport.is_closing():
            self._transport.write(data)


def _response(status: int, headers: Headers) -> h11.Response:
    reason = HTTPStatus(status).phrase.encode()
    return h11.Response(status_code=status, headers=headers, reason=reason)


def _done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
