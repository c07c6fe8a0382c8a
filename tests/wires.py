"""A server on this machine that answers with exactly what it is told to, and remembers what it was asked."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Write = Callable[[bytes], None]


@dataclass(frozen=True)
class Reply:
    """One answer: a document, bytes, or a list of texts that is sent as a stream of events.

    `raw` writes to the socket itself, head and all; it is given a function that says whether to go on.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[Write, Callable[[], bool]], None] | None = None
    hold: threading.Event | None = None


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class WireServer:
    """Its address, what it answers (the last for ever), what it was asked, how many connections it took."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def next_reply(self) -> Reply:
        with self.lock:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def handler_of(state: WireServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - the methods of a class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def setup(self) -> None:
            super().setup()
            with state.lock:
                state.connections += 1

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append(Asked(self.command, self.path, headers, body))
            reply = state.next_reply()
            if reply.hold is not None:
                reply.hold.wait(30)
            try:
                self._answer(reply)
            except OSError:
                self.close_connection = True  # the client has gone

        def _answer(self, reply: Reply) -> None:
            if reply.raw is not None:
                self.close_connection = True
                reply.raw(self._put, lambda: not state.over.is_set())
                return
            kind, data = "application/json", reply.body
            if isinstance(data, list):
                kind, data = "text/event-stream", "".join(f"{event}\n\n" for event in data).encode()
            elif not isinstance(data, bytes):
                data = json.dumps(data).encode()
            self.send_response(reply.status)
            for name, value in {"content-type": kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _put(self, data: bytes) -> None:
            self.wfile.write(data)
            self.wfile.flush()

    return Handler


@contextmanager
def wire_server(*replies: Reply, tls: ssl.SSLContext | None = None) -> Iterator[WireServer]:
    """A server for as long as a test takes."""
    state = WireServer(replies=list(replies))

    class Listening(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 512

        def handle_error(self, *_: Any) -> None:
            pass

    with Listening(("127.0.0.1", 0), handler_of(state)) as httpd:
        if tls is not None:
            httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
        state.url = f"http{'' if tls is None else 's'}://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.over.set()
            httpd.shutdown()
            thread.join()


def drip(data: bytes, every: float, at_once: bytes = b"") -> Callable[[Write, Callable[[], bool]], None]:
    """A byte at a time, and more for ever when there are no more; after what comes at once."""

    def send(put: Write, go_on: Callable[[], bool]) -> None:
        put(at_once)
        position = 0
        while go_on():
            put(data[position : position + 1] or b" ")
            position += 1
            time.sleep(every)

    return send


# What the vendors answer, as their documentation shows it.


def chat(text: str | None = "fine", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """OpenAI's chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50},
    }


def chat_events(*words: str, finish: str = "stop", usage: bool = True) -> list[str]:
    """The same as a stream; usage in a last chunk without choices."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-2026"}
    chunks: list[dict[str, Any]] = [
        {**head, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        for word in words
    ]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        counted = {"prompt_tokens": 30, "completion_tokens": 20, "total_tokens": 50}
        chunks.append({**head, "choices": [], "usage": counted})
    return [*(f"data: {json.dumps(chunk)}" for chunk in chunks), "data: [DONE]"]


def message(text: str = "fine", stop: str = "end_turn") -> dict[str, Any]:
    """Anthropic's message."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-2026",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 30, "output_tokens": 20},
    }


def message_events(*words: str, stop: str = "end_turn") -> list[str]:
    """The same as a stream."""
    begun = {**message("", stop), "stop_reason": None, "usage": {"input_tokens": 30, "output_tokens": 1}}
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
            for word in words
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": 20},
        },
        {"type": "message_stop"},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}" for event in events]


def generated(text: str = "fine", finish: str = "STOP") -> dict[str, Any]:
    """Gemini's generateContent."""
    return {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish, "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 20, "totalTokenCount": 50},
        "modelVersion": "m-2026",
        "responseId": "r1",
    }


def generated_events(*words: str) -> list[str]:
    """The same as a stream."""
    pieces = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}, "index": 0}]}
        for word in words[:-1]
    ]
    return [f"data: {json.dumps(piece)}" for piece in (*pieces, generated(words[-1]))]


def openai_error(text: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    """OpenAI's error."""
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def anthropic_error(kind: str, text: str) -> dict[str, Any]:
    """Anthropic's error."""
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"}


def google_error(status: str, code: int, text: str, *details: dict[str, Any]) -> dict[str, Any]:
    """Google's error."""
    return {"error": {"code": code, "message": text, "status": status, "details": list(details)}}
