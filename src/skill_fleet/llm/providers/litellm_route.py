"""litellm, only where a model asks for it by name: `litellm/<its model string>`.

Importing it takes seconds and about 190 MB; the client that DSPy has for it does so at the first call. Its
price map is the packaged one (`config.load.environment` sees to it before).
"""

import asyncio
import concurrent.futures
import importlib.util
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, closing
from dataclasses import replace
from typing import Any

from dspy import lm15
from dspy.clients.engines import AsyncLiteLLMEngine, LiteLLMEngine
from dspy.lm15 import Request, Response

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.providers.bounded_stream import abounded, bounded
from skill_fleet.llm.providers.routes import LONGEST_ATTEMPT, effective_address
from skill_fleet.llm.providers.vendor_words import typed
from skill_fleet.llm.providers.whole_streams import awhole, whole


class LitellmClient:
    """One model over litellm. It owns its connections: no headers are told, no origin is pinned.

    Args:
        spec: The model.
        key: Its key; None lets litellm look for it in the variables that it documents.

    Raises:
        ConfigError: litellm is not installed, or `api_base` is no address.
    """

    def __init__(self, spec: ModelSpec, key: str | None) -> None:
        if importlib.util.find_spec("litellm") is None:
            raise ConfigError(
                f"The model {spec.model} asks for litellm, which is not installed.",
                hint='pip install "litellm!=1.82.7,!=1.82.8"',
            )
        effective_address(spec)  # refused where it is none: litellm would find that out by calls
        self._model = spec.model
        self._wire = spec.model.partition("/")[2]
        self._seconds = min(spec.timeout, LONGEST_ATTEMPT)
        options: dict[str, Any] = {"timeout": self._seconds, "api_key": key, "api_base": spec.api_base}
        given = {name: value for name, value in options.items() if value is not None}
        self._engine = LiteLLMEngine(**given)
        self._awaited = AsyncLiteLLMEngine(**given)

    def complete(self, request: Request) -> Response:
        """The answer. Its thread is left behind when the time is over: litellm bounds single waits only."""
        landing: concurrent.futures.Future[Response] = concurrent.futures.Future()
        thread = threading.Thread(
            target=_into, args=(landing, self._engine, self._routed(request)), name="litellm", daemon=True
        )
        with typed(self._model, "litellm"):
            thread.start()
            try:
                return landing.result(self._seconds)
            except concurrent.futures.TimeoutError as error:
                if landing.done():
                    raise
                raise self._late() from error

    async def acomplete(self, request: Request) -> Response:
        """The answer, awaited."""
        with typed(self._model, "litellm"):
            late = asyncio.timeout(self._seconds)
            try:
                async with late:
                    return await self._awaited.complete(self._routed(request))
            except TimeoutError as error:
                if late.expired():
                    raise self._late() from error
                raise

    def stream(self, request: Request) -> Iterator[Any]:
        """The answer as it comes."""
        return whole(self._events(request))

    def astream(self, request: Request) -> AsyncIterator[Any]:
        """The answer as it comes, awaited."""
        return awhole(self._awaited_events(request))

    def close(self) -> None:
        """No call after this one; the connections are litellm's."""
        self._engine.close()

    def _events(self, request: Request) -> Iterator[Any]:
        source = self._engine.stream(self._routed(request))
        with typed(self._model, "litellm"), closing(bounded(source, self._seconds, self._late)) as events:
            yield from events

    async def _awaited_events(self, request: Request) -> AsyncIterator[Any]:
        with typed(self._model, "litellm"):
            source = self._awaited.stream(self._routed(request))
            async with aclosing(abounded(source, self._seconds, self._late)) as events:
                async for event in events:
                    yield event

    def _routed(self, request: Request) -> Request:
        return replace(request, model=self._wire)

    def _late(self) -> lm15.TimeoutError:
        return lm15.TimeoutError(f"No complete answer within {self._seconds:g} s (the model's timeout).")


def _into(landing: "concurrent.futures.Future[Response]", engine: Any, request: Request) -> None:
    try:
        landing.set_result(engine.complete(request))
    except BaseException as error:  # noqa: BLE001 - passed on to who waits
        landing.set_exception(error)
