"""Entity tags: a client that has the newest state gets 304 and no body (RFC 9110, section 13.1.2)."""

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

ETAG_HEADER: dict[str, Any] = {"ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}}}
"""The header of an answer that can be asked for with `If-None-Match`, for OpenAPI."""

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_current(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names this state, by weak comparison.

    Args:
        request: What the client sent.
        etag: Of the state, with its quotes.
    """
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in _TAG.findall(given)


def not_modified(etag: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a client that has the newest state."""
    return Response(status_code=304, headers={"ETag": etag, **(headers or {})})
