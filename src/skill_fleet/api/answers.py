"""JSON answers made without a model in between: what is sent is what the use case gave."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/json"


def json_bytes(value: Any) -> bytes:
    """A value as compact JSON.

    Half of a surrogate pair, which UTF-8 cannot hold, becomes a question mark; what is not a number, null.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # such a half, or a number of more than 64 bits
        pass
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as an answer."""
    return Response(json_bytes(value), status, headers, MEDIA_TYPE)
