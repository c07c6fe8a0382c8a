"""A provider by DSPy's native client, one attempt a call; retries, budget and journal are the engine's."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from skill_fleet.config.load import environment
from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import KeyMissing
from skill_fleet.llm.failures import redact

_SECRET_NAMES = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")


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
        environment()  # DSPy then reads prices from its packaged snapshot, not from the network
        named = (value for name, value in environ.items() if name.upper().endswith(_SECRET_NAMES))
        self._secrets = tuple({value for value in (*named, options.get("api_key", "")) if len(value) >= 8})
        self._lm = dspy.LM(spec.model, cache=False, num_retries=0, engine="lm15", **options)

    def complete(self, request: Request) -> Response:
        """One attempt."""
        with self._apart():
            return self._lm(request=request)

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        with self._apart():
            return await self._lm.acall(request=request)

    @contextlib.contextmanager
    def _apart(self) -> Iterator[None]:
        """Keys out of errors; and history, usage, callbacks and streams left to the model above.

        The LM in here is a means: it would otherwise count every call, and stream every word, a second time.
        """
        quiet: dict[str, Any] = {
            "disable_history": True,
            "usage_tracker": None,
            "callbacks": [],
            "send_stream": None,
        }
        try:
            with dspy.context(**quiet):
                yield
        except Exception as error:
            redact(error, self._secrets)
            raise


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
