"""A server on a real socket that answers as a test has written down, and keeps what it was asked."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Handler(BaseHTTPRequestHandler):
    """Gives the next answer of its server."""

    server: "Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, json.loads(raw) if raw else None))
        answer = (
            self.server.answers.popleft() if self.server.answers else problem(500, "bug", "No answer left.")
        )
        answer(self)

    do_POST = do_DELETE = do_GET  # noqa: N815 - names of the base class

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Server(ThreadingHTTPServer):
    """The server of the handlers."""

    daemon_threads = True
    answers: deque[Answer] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    __hash__ = object.__hash__

    def handle_error(self, *_: Any) -> None:
        """A client that went away is nobody's error."""


class Scripted:
    """A server under way.

    Attributes:
        url: Where it listens.
    """

    def __init__(self) -> None:
        self._server = Server()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def asked(self) -> list[Asked]:
        return self._server.asked

    def will(self, *answers: Answer) -> None:
        """What it answers next, in order."""
        self._server.answers.extend(answers)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def value(found: Any, status: int = 200, **headers: str) -> Answer:
    """JSON."""
    return lambda handler: handler.reply(
        status, json.dumps(found).encode(), Content_Type="application/json", **headers
    )


def text(body: str, status: int = 200, media: str = "text/html") -> Answer:
    """Any text."""
    return lambda handler: handler.reply(status, body.encode(), Content_Type=media)


def problem(status: int, code: str, detail: str, hint: str = "", **headers: str) -> Answer:
    """A problem document."""
    body = {"type": f"urn:x:{code}", "status": status, "code": code, "detail": detail, "hint": hint}
    return value(body, status, **headers)


def hang_up(handler: Handler) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(2)


def stream(*chunks: str, whole: bool = True) -> Answer:
    """An event stream; one that is not whole breaks off."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            data = chunk.encode()
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            handler.wfile.flush()
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            hang_up(handler)

    return answer


def event(number: int, kind: str = "round", **data: Any) -> str:
    """An event as the service sends it."""
    body = json.dumps({"number": number, "at": "2026-01-01T00:00:00Z", "kind": kind, "data": data})
    return f"id: {number}\nevent: {kind}\ndata: {body}\n\n"


END = 'event: end\ndata: {"job_id": "x", "status": "succeeded"}\n\n'
