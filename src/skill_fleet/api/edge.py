"""The outermost layer: a name for each request, headers on each answer, every error a problem document."""

import logging
import os
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skill_fleet.api.problems import problem, problem_of
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError

LOG = logging.getLogger("skill_fleet.api")
Observe = Callable[[str, str, int, float], None]

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""On every answer that does not say otherwise itself."""


class Edge:
    """ASGI middleware around everything else.

    Args:
        app: The application.
        clock: Time.
        observe: Told of each answer: method, route template, status, seconds.
        root: The workspace's directory, cut out of what clients are told.
    """

    def __init__(self, app: ASGIApp, *, clock: Clock, observe: Observe, root: str) -> None:
        self._app = app
        self._clock = clock
        self._observe = observe
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, status = self._clock.monotonic(), os.urandom(8).hex(), 0
        scope["request_id"] = request_id

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), request_id)
            await send(message)

        try:
            await self._app(scope, receive, named)
        except SkillFleetError as error:
            if status:
                raise
            answer = problem_of(error, instance=_instance(scope), root=self._root, request_id=request_id)
            if answer.status_code >= 500:
                LOG.error("%s %s", request_id, error.message)  # noqa: TRY400 - a sentence, not a bug
            await answer(scope, receive, named)
        except Exception:  # the edge of a request: a bug is an answer too
            if status:
                raise
            LOG.exception("%s failed: %s", request_id, scope["method"])
            detail = "The server failed; the log of the server says why."
            answer = problem("bug", detail, instance=_instance(scope), request_id=request_id)
            await answer(scope, receive, named)
        finally:
            seconds = self._clock.monotonic() - began
            template = template_of(scope)
            if status:  # else the client went away
                self._observe(scope["method"], template, status, seconds)
            LOG.debug("%s %s %s %d %.1f ms", request_id, scope["method"], template, status, seconds * 1000)


def template_of(scope: Scope) -> str:
    """The route that answered, as written: never what a client made up."""
    return getattr(scope.get("route"), "path", None) or "none"


def _instance(scope: Scope) -> str:
    return str(scope["path"])[:200]


def _completed(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    own = list(headers)
    given = {name.lower() for name, _ in own}
    added = [pair for pair in _HEADERS if pair[0] not in given]
    return [*own, *added, (b"x-request-id", request_id.encode())]
