"""What goes over the wire: completions, chunks of streams and errors, in OpenAI's shapes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from skill_fleet.simulator.faults import Fault

FINGERPRINT = "simulated"
"""`system_fingerprint` of every answer."""
_PIECE = 24
"""Characters of a chunk of a stream, about."""


class ApiError(Exception):
    """A refusal or an error in OpenAI's shape.

    Args:
        status: HTTP status.
        message: One sentence.
        kind: `type` of the error object.
        param: Which parameter is wrong, or None.
        code: Stable short name, or None.
    """

    def __init__(
        self, status: int, message: str, kind: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code

    @classmethod
    def bad(cls, message: str, param: str | None = None) -> "ApiError":
        """400: the request is none."""
        return cls(400, message, "invalid_request_error", param=param)

    def body(self) -> bytes:
        """As JSON."""
        value = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": value})


def wrong_key() -> ApiError:
    """401. The key that was sent is not repeated."""
    return ApiError(401, "Incorrect API key provided.", "invalid_request_error", code="invalid_api_key")


def unknown_model(name: str) -> ApiError:
    """404."""
    return ApiError(
        404,
        f"The model `{name[:100]}` does not exist or you do not have access to it.",
        "invalid_request_error",
        code="model_not_found",
    )


def bug(error: Exception) -> ApiError:
    """500 of the simulator's own: nothing that was asked for."""
    said = f"This is a bug of the simulator: {type(error).__name__}: {error}."
    return ApiError(500, said, "simulator_bug")


def over_limit(by: str, model: str, seconds: float | None) -> ApiError:
    """429 of a limit."""
    if by == "in_flight":
        return ApiError(429, "Too many concurrent requests.", "requests", code="too_many_concurrent_requests")
    again = "The request is larger than the limit."
    if seconds is not None:
        again = f"Try again in {math.ceil(seconds * 1000 - 1e-6) / 1000:.3f}s."
    return ApiError(
        429, f"Rate limit reached for {model} on {by} (simulated). {again}", by, code="rate_limit_exceeded"
    )


def error_of(fault: Fault, model: str, prompt_tokens: int) -> ApiError:
    """The error of a fault that is one in JSON."""
    made: Mapping[str, ApiError] = {
        "rate_limit": over_limit("requests", model, 1.0),
        "quota": ApiError(
            429,
            "You exceeded your current quota, please check your plan and billing details (simulated).",
            "insufficient_quota",
            code="insufficient_quota",
        ),
        "auth": wrong_key(),
        "context": ApiError(
            400,
            f"This model's maximum context length is {max(1, prompt_tokens // 2)} tokens. However, your "
            f"messages resulted in {prompt_tokens} tokens. Please reduce the length of the messages.",
            "invalid_request_error",
            param="messages",
            code="context_length_exceeded",
        ),
        "not_found": unknown_model(model),
        "server_error": ApiError(500, "The server had an error (simulated).", "server_error"),
        "unavailable": ApiError(
            503, "The server is overloaded (simulated).", "server_error", code="overloaded"
        ),
    }
    return made[fault.name]


BAD_GATEWAY = (
    b"<html>\n<head><title>502 Bad Gateway</title></head>\n"
    b"<body><center><h1>502 Bad Gateway</h1></center><hr><center>simulated</center></body>\n</html>\n"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        text: What it says.
        finish: `stop`, `length` or `content_filter`.
        tokens: What it cost, of which the text may be a part.
    """

    text: str
    finish: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The answer to a request.

    Attributes:
        id: Of the request.
        model: As asked for.
        created: Seconds since 1970.
        choices: In order.
        prompt_tokens: Of the request.
        completion_tokens: Of the work done, whatever the choices show of it.
    """

    id: str
    model: str
    created: int
    choices: Sequence[Choice]
    prompt_tokens: int
    completion_tokens: int

    def usage(self) -> dict[str, int]:
        """As in the answer."""
        whole = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": whole,
        }

    def body(self, *, usage: bool = True) -> bytes:
        """The whole answer as JSON."""
        value = self._head("chat.completion")
        value["choices"] = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": None,
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(self.choices)
        ]
        if usage:
            value["usage"] = self.usage()
        return orjson.dumps(value)

    def events(self, *, usage: bool) -> Iterator[bytes]:
        """The answer as server-sent events, `[DONE]` the last.

        Args:
            usage: Whether there is one with the usage before it.
        """
        for index, choice in enumerate(self.choices):
            yield self._chunk(index, {"role": "assistant", "content": ""}, None, usage=usage)
            for piece in pieces(choice.text):
                yield self._chunk(index, {"content": piece}, None, usage=usage)
            yield self._chunk(index, {}, choice.finish, usage=usage)
        if usage:
            value = self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage()}
            yield event(orjson.dumps(value))
        yield event(b"[DONE]")

    def _chunk(self, index: int, delta: Mapping[str, Any], finish: str | None, *, usage: bool) -> bytes:
        value = self._head("chat.completion.chunk")
        value["choices"] = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
        if usage:
            value["usage"] = None
        return event(orjson.dumps(value))

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
        }


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def pieces(text: str) -> Iterator[str]:
    """A text in pieces that end after a space where there is one."""
    start = 0
    while start < len(text):
        end = text.find(" ", start + _PIECE)
        end = len(text) if end < 0 else min(end + 1, start + 4 * _PIECE)
        yield text[start:end]
        start = end
