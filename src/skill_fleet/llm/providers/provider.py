"""A provider, one attempt a call; retries, budget, limits and journal are the engine's."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from dspy.lm15 import Request, Response

from skill_fleet.config.load import environment
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import KeyMissing
from skill_fleet.foundation.redaction import secrets_of
from skill_fleet.llm.failures import redacting
from skill_fleet.llm.own_thread import in_own_thread
from skill_fleet.llm.providers.keys import first_key, key_in
from skill_fleet.llm.providers.rollout_seed import seeded
from skill_fleet.llm.providers.routes import LITELLM, basic_login, login_in, route_of, takes_seed, usual_keys

if TYPE_CHECKING:
    from skill_fleet.llm.providers.attempt_rules import OnHeaders
    from skill_fleet.llm.providers.native_client import NativeClient

NO_KEY = "none"
"""What servers of one's own are given: they want a key and ignore it."""


class Client(Protocol):
    """What makes one attempt over HTTP: DSPy's native client, or litellm where that is asked for."""

    def complete(self, request: Request) -> Response:
        """The answer."""
        ...

    async def acomplete(self, request: Request) -> Response:
        """The answer, awaited."""
        ...

    def stream(self, request: Request) -> Iterator[Any]:
        """The answer as it comes: a start, pieces, an end with finish reason and usage."""
        ...

    def astream(self, request: Request) -> AsyncIterator[Any]:
        """The same, awaited."""
        ...

    def close(self) -> None:
        """Close the connections that no event loop owns."""
        ...


class Provider:
    """One model of one provider.

    Args:
        spec: The model, its address and where its key is found.
        environ: Where keys are read from; a key is never stored in anything that is written, nor logged.
        on_headers: Told the headers of every response, names in lower case; not by litellm.

    Raises:
        KeyMissing: The variable that the configuration names, or the provider's usual one, is empty.
        ConfigError: There is no route to this model, or its address is none.
    """

    def __init__(
        self, spec: ModelSpec, environ: Mapping[str, str], on_headers: "OnHeaders | None" = None
    ) -> None:
        environment()  # DSPy then reads prices from its packaged snapshot, not from the network
        key = key_of(spec, environ)
        login = (*(login_in(spec) or ()), (basic_login(spec) or "").removeprefix("Basic "))
        known = (*secrets_of(environ), key or "", *login)
        self._secrets = tuple({value for value in known if len(value) >= 8})
        self._seeds = takes_seed(spec)
        self._client = client_of(spec, key, on_headers)

    def complete(self, request: Request) -> Response:
        """One attempt."""
        with redacting(self._secrets):
            return self._client.complete(self._asked(request))

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        with redacting(self._secrets):
            return await self._client.acomplete(self._asked(request))

    def stream(self, request: Request) -> Iterator[Any]:
        """One attempt, its answer as it comes: a start, pieces, an end with finish reason and usage."""
        with redacting(self._secrets):
            yield from self._client.stream(self._asked(request))

    async def astream(self, request: Request) -> AsyncIterator[Any]:
        """The same, awaited."""
        with redacting(self._secrets):
            async with contextlib.aclosing(self._client.astream(self._asked(request))) as events:  # type: ignore[type-var]
                async for event in events:
                    yield event

    def close(self) -> None:
        """Close the connections; those of an event loop close with it."""
        self._client.close()

    def _asked(self, request: Request) -> Request:
        return seeded(request) if self._seeds else request


def key_of(spec: ModelSpec, environ: Mapping[str, str]) -> str | None:
    """The key of a model; None where litellm looks for it.

    The provider's usual variable is read only for the provider's own address: a key goes to another one only
    when the configuration names it.

    Raises:
        KeyMissing: The variable that should hold it is empty, or holds what no key can hold.
        ConfigError: There is no route to this model.
    """
    if spec.api_key_env is not None:
        if key := key_in(spec.api_key_env, environ):
            return key
        raise KeyMissing(
            f"The model {spec.model} needs a key in the environment variable {spec.api_key_env}, "
            f"which is empty.",
            hint=f"export {spec.api_key_env}=…",
        )
    if spec.provider == LITELLM:
        first_key(usual_keys(spec.model.split("/")[1]), environ)  # refused where it can be none
        return None
    route = route_of(spec.model)
    if route.local or (spec.api_base is not None and route.address is not None):
        return NO_KEY
    usual = first_key(route.keys, environ)
    if usual is not None:
        return usual
    raise KeyMissing(
        f"The model {spec.model} has no key: {' or '.join(route.keys)} is not set in the environment.",
        hint=f"export {route.keys[0]}=…",
        code="not_configured",
    )


def client_of(spec: ModelSpec, key: str | None, on_headers: "OnHeaders | None" = None) -> Client:
    """What speaks to the provider of a model.

    Raises:
        ConfigError: There is no route to it, or its address is none, or litellm is asked for and not there.
    """
    if spec.provider == LITELLM:
        from skill_fleet.llm.providers.litellm_route import LitellmClient

        return LitellmClient(spec, key)
    native = _native()
    if native is not None:
        return native(spec, key or NO_KEY, on_headers)
    from skill_fleet.llm.providers.plain_client import PlainClient

    return PlainClient(spec, key or NO_KEY)


def has_native_client() -> bool:
    """Whether DSPy's inside is the one we know, so that its client runs over our transport."""
    return _native() is not None


def _native() -> "type[NativeClient] | None":
    """DSPy's client with our transport under it; None where its inside is not the one we know."""
    try:
        from skill_fleet.llm.providers.known_inside import usable
        from skill_fleet.llm.providers.native_client import NativeClient
    except ImportError:
        return None
    return NativeClient if usable() else None


class Awaitable:
    """A model that only answers synchronously, awaited in a thread."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def complete(self, request: Request) -> Response:
        """One attempt."""
        return self._model.complete(request)

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited; the call's context goes along."""
        return await in_own_thread(lambda: self._model.complete(request), "call")
