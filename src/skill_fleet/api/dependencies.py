"""What a route may ask for: the service, who calls, and a way to read the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar, cast

import anyio.to_thread
from fastapi import Depends, Request

from skill_fleet.api.problems import Refused
from skill_fleet.jobs.records import ApiKey
from skill_fleet.services.service import Service


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        key: The key that was presented; None where no key exists and none is needed.
    """

    key: ApiKey | None = None

    @property
    def owner(self) -> str | None:
        """Whose the jobs are that this caller starts."""
        return None if self.key is None else self.key.key_id

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the caller may do: `read`, `run`, `admin`, the wider with all narrower ones."""
        given = ("admin",) if self.key is None else self.key.scopes
        widest = max((_SCOPES.index(scope) for scope in given if scope in _SCOPES), default=-1)
        return _SCOPES[: widest + 1]

    @property
    def admin(self) -> bool:
        """Whether everybody's jobs are this caller's to see."""
        return "admin" in self.scopes

    def may(self, scope: str) -> bool:
        """Whether the caller has a scope."""
        return scope in self.scopes

    def need(self, scope: str) -> None:
        """Go on only with a scope.

        Raises:
            Refused: `forbidden`.
        """
        if not self.may(scope):
            raise Refused(
                "forbidden",
                f"The key does not have the scope '{scope}'.",
                hint=f"It has: {', '.join(self.scopes) or 'none'}.",
            )


_SCOPES = ("read", "run", "admin")
T = TypeVar("T")


async def in_store(service: Service, function: Callable[..., T], *arguments: object) -> T:
    """Call a store: directly on SQLite, where it is quicker than a thread, else off the event loop."""
    if service.database.is_sqlite:
        return function(*arguments)
    return await anyio.to_thread.run_sync(function, *arguments)


async def service_of(request: Request) -> Service:
    """The service that the app was made with."""
    return cast("Service", request.app.state.service)


async def caller_of(request: Request) -> Caller:
    """Who calls, as the security middleware found out."""
    return cast("Caller", request.scope["caller"])


ServiceDep = Annotated[Service, Depends(service_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
