"""Bodies: read once, whole, within a size and a time, and only JSON."""

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skill_fleet.api.json_body import strict_json
from skill_fleet.api.large_bodies import LARGE, Threads, keep
from skill_fleet.api.problems import Refused


class Bodies:
    """ASGI middleware: what comes through has a body that is small enough, in time, and JSON, or none.

    Args:
        app: The application.
        most: Bytes.
        seconds: From the first byte of the body to the last.
    """

    def __init__(self, app: ASGIApp, *, most: int, seconds: float) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds
        self._threads = Threads()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            Refused: `body_too_large`, `unsupported_media_type`, `slow_body`, `invalid_json`.
        """
        if scope["type"] != "http" or not self._has_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        body = await self._read(receive)
        if body is None:
            return
        if body:
            _json_only(scope["headers"])
            if len(body) < LARGE:
                strict_json(body)
            else:
                keep(scope, self._threads, await self._threads.do(strict_json, body))
        await self._app(scope, _replay(body, receive), send)

    def _has_body(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a body is announced; refuses one announced as too large before a byte of it is read."""
        announced = False
        for name, value in headers:
            if name == b"transfer-encoding":
                announced = True
            elif name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 20 else self._most + 1
                if length > self._most:
                    raise self._too_large()
                announced = announced or length > 0
        return announced

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None where the client went away."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._most:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refused(
                "slow_body",
                f"The body was not complete after {self._seconds:g} seconds.",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> Refused:
        return Refused(
            "body_too_large",
            f"The body is larger than {self._most} bytes.",
            hint="The operator may raise server.max_body_bytes.",
        )


def _json_only(headers: Iterable[tuple[bytes, bytes]]) -> None:
    kinds = [value for name, value in headers if name == b"content-type"]
    encodings = [value for name, value in headers if name == b"content-encoding"]
    kind, _, parameters = kinds[0].partition(b";") if len(kinds) == 1 else (b"", b"", b"")
    charset = parameters.strip().lower().replace(b'"', b"")
    plain = not encodings and charset in {b"", b"charset=utf-8", b"charset=utf8"}
    if kind.strip().lower() != b"application/json" or not plain:
        raise Refused(
            "unsupported_media_type",
            "A body has to be application/json in UTF-8, not compressed.",
            hint="Send Content-Type: application/json.",
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body in one piece, then whatever the server says next."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
