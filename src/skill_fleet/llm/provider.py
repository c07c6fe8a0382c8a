"""A provider by DSPy's native client, one attempt a call; retries, budget and journal are the engine's."""

import asyncio
from collections.abc import Mapping
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import KeyMissing


class Provider:
    """One model of one provider.

    `engine="lm15"` is DSPy's native client; its default would fall back to litellm without a word.

    Args:
        spec: The model, its address and where its key is found.
        environ: Where keys are read from; a key is never stored or logged.

    Raises:
        KeyMissing: The variable that the configuration names is empty.
    """

    def __init__(self, spec: ModelSpec, environ: Mapping[str, str]) -> None:
        options: dict[str, Any] = {"timeout": spec.timeout}
        if spec.api_key_env is not None:
            key = environ.get(spec.api_key_env, "")
            if not key:
                raise KeyMissing(
                    f"The model {spec.model} needs a key in the environment variable {spec.api_key_env}, "
                    f"which is empty.",
                    hint=f"export {spec.api_key_env}=…",
                )
            options["api_key"] = key
        elif spec.api_base is not None:
            options["api_key"] = "none"  # local servers want a key and ignore it
        if spec.api_base is not None:
            options["api_base"] = spec.api_base
        self._lm = dspy.LM(spec.model, cache=False, num_retries=0, engine="lm15", **options)

    def complete(self, request: Request) -> Response:
        """One attempt."""
        return self._lm(request=request)

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        return await self._lm.acall(request=request)


class Awaitable:
    """A model that only answers synchronously, awaited in a thread."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def complete(self, request: Request) -> Response:
        """One attempt."""
        return self._model.complete(request)

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited; the call's context goes along."""
        return await asyncio.to_thread(self._model.complete, request)
