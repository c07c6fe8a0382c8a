"""DSPy's native client with our transport under it: one attempt, typed as DSPy types it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any

from dspy.clients.engines import AsyncLM15Engine, LM15Engine
from dspy.lm15 import (
    AccessPolicy,
    EndpointSupport,
    OpenAIChatCompat,
    ProviderDefinition,
    Request,
    Response,
    RouterConfig,
)

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.providers.attempt_rules import Mender, OnHeaders, Rules, Unmended
from skill_fleet.llm.providers.broken_off import StreamEnd, as_told
from skill_fleet.llm.providers.routes import (
    COMPATIBLE,
    OWN_DOORS,
    basic_login,
    door_of,
    effective_address,
    route_of,
)
from skill_fleet.llm.providers.stream_usage import StreamUsage
from skill_fleet.llm.providers.transport import AsyncTransport, Transport
from skill_fleet.llm.providers.vendor_words import typed
from skill_fleet.llm.providers.whole_streams import awhole, whole

_MENDERS: dict[str, Callable[[], Mender]] = {"anthropic": StreamUsage, "openai": StreamEnd}


class NativeClient:
    """One model over DSPy's client. For any number of threads and event loops.

    Nothing is read from the process's environment but proxies: address and key are the given ones.

    Args:
        spec: The model.
        key: Its key.
        on_headers: Told the headers of every response.

    Raises:
        ConfigError: There is no route to this model, or its address is none.
    """

    def __init__(self, spec: ModelSpec, key: str, on_headers: OnHeaders | None = None) -> None:
        route = route_of(spec.model)
        self._model, self._prefix = spec.model, route.prefix
        self._address = str(effective_address(spec))
        self._door = door_of(spec)
        self._wire = f"{self._door}:{spec.model.partition('/')[2]}"
        self._key = key
        mender = _MENDERS.get(route.wire, Unmended)
        self._rules = Rules(self._address, spec.timeout, on_headers, basic_login(spec), mender)
        self._transport = Transport(self._rules)
        self._engine = LM15Engine(self._config(self._transport))
        self._loops: dict[asyncio.AbstractEventLoop, AsyncLM15Engine] = {}
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        """The answer."""
        with typed(self._model, self._prefix):
            return as_told(self._engine.complete(self._routed(request)))

    async def acomplete(self, request: Request) -> Response:
        """The answer, awaited."""
        with typed(self._model, self._prefix):
            return as_told(await self._awaited_engine().complete(self._routed(request)))

    def stream(self, request: Request) -> Iterator[Any]:
        """The answer as it comes."""
        return whole(self._events(request))

    def astream(self, request: Request) -> AsyncIterator[Any]:
        """The answer as it comes, awaited."""
        return awhole(self._awaited_events(request))

    def close(self) -> None:
        """Close the connections of threads; those of a loop close with it."""
        self._engine.close()
        self._transport.close()

    def _events(self, request: Request) -> Iterator[Any]:
        with typed(self._model, self._prefix), closing(self._engine.stream(self._routed(request))) as events:
            yield from events

    async def _awaited_events(self, request: Request) -> AsyncIterator[Any]:
        with typed(self._model, self._prefix):
            async with aclosing(self._awaited_engine().stream(self._routed(request))) as events:
                async for event in events:
                    yield event

    def _routed(self, request: Request) -> Request:
        return replace(request, model=self._wire)

    def _config(self, transport: Transport | AsyncTransport) -> RouterConfig:
        door = self._door
        return RouterConfig(
            env={},
            api_keys={door: self._key},
            base_urls={door: self._address},
            transport=transport,
            providers=(_declared(door, self._address),) if door in OWN_DOORS else (),
        )

    def _awaited_engine(self) -> AsyncLM15Engine:
        loop = asyncio.get_running_loop()
        with self._lock:
            engine = self._loops.get(loop)
            if engine is None:
                for over in [one for one in self._loops if one.is_closed()]:
                    del self._loops[over]
                engine = self._loops[loop] = AsyncLM15Engine(self._config(AsyncTransport(self._rules)))
            return engine


def _declared(door: str, address: str) -> ProviderDefinition:
    """A server that DSPy's client has no door for: OpenAI's chat completions as most servers know them."""
    access = AccessPolicy(
        provider=door, supports=EndpointSupport(complete=True, stream=True), base_url=address
    )
    compat = OpenAIChatCompat(
        instruction_role="system",
        max_tokens_field="max_tokens",
        stream_usage="include",
        thinking_format="reasoning_effort" if door == COMPATIBLE else "none",
        tool_result_name="omit",
        strict_tools="omit",
        cache_control="none",
        tool_result_media="reject",
    )
    return ProviderDefinition.chat(access, compat=compat, placeholder_key="none")
