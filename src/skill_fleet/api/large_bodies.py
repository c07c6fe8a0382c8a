"""Large bodies: read and checked in threads, few at a time, while the event loop serves the others.

Four mebibytes take some tenths of a second from bytes to a checked request, and on the event loop everybody
else would stand still for as long.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, get_type_hints

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.responses import Response
from starlette.types import Scope
from typing_extensions import override

LARGE = 1 << 16
"""Bytes from which on a body is large."""
_AT_ONCE = 2
_VALUE = "skill_fleet.large_body"

T = TypeVar("T")


class Threads:
    """Threads for large bodies. More at a time would only take the interpreter's lock from one another."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def do(self, work: Callable[..., T], *arguments: object) -> T:
        """What a function gives, called in a thread as soon as one is free."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._limiter)


def keep(scope: Scope, threads: Threads, value: object) -> None:
    """Keep what was read of a large body for the route that it is for."""
    scope[_VALUE] = (threads, value)


class LargeBodyRoute(APIRoute):
    """A route whose large bodies are checked in a thread. It gets what any other route would get.

    The body is the parameter `body`, a pydantic model; where it is none, or not large, nothing differs.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, as FastAPI asks for it."""
        handle = super().get_route_handler()
        kind = get_type_hints(self.endpoint).get("body")
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return handle

        async def handled(request: Request) -> Response:
            kept = request.scope.get(_VALUE)
            if kept is None:
                return await handle(request)
            threads, value = kept
            read = await threads.do(_checked, kind, value)
            return await handle(_Read(request, read))

        return handled


async def dumped(request: Request, body: BaseModel) -> dict[str, Any]:
    """What was given of a body; of a large one it is copied in a thread."""

    def dump() -> dict[str, Any]:
        return body.model_dump(exclude_unset=True)

    kept = request.scope.get(_VALUE)
    return dump() if kept is None else await kept[0].do(dump)


class _Read(Request):
    """A request whose body is a model already: what validates it lets it through as it is."""

    def __init__(self, request: Request, read: BaseModel) -> None:
        super().__init__(request.scope, request.receive)
        self._read_body = read

    @override
    async def json(self) -> Any:
        """The model."""
        return self._read_body


def _checked(kind: type[BaseModel], value: object) -> BaseModel:
    """The value as a model.

    Raises:
        RequestValidationError: As FastAPI would have said it.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
