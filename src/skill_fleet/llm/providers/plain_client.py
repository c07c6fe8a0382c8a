"""DSPy's native client as it comes: for a DSPy whose inside is not the one our transport was proven with.

What is missing then: a deadline over a whole attempt (only the wait for the next byte is bounded), the
headers of responses, the bound on the size of an answer, answers as they come, a user name and password that
stand in the address, and the words of errors that have another form than OpenAI's.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import dspy
from dspy.lm15 import Request, Response, response_to_events

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.providers.routes import OWN_DOORS, door_of, effective_address
from skill_fleet.llm.providers.vendor_words import typed

# Prefixes of ours as `dspy.LM` spells the same door.
_SPELLED = {
    "openai-chat": "openai",
    "moonshotai": "moonshot",
    "vllm": "hosted_vllm",
    "sglang": "hosted_vllm",
    "zai": "openai",
    "meta-chat": "openai",
    "azure-chat": "",
}
_QUIET: dict[str, Any] = {
    "disable_history": True,
    "usage_tracker": None,
    "callbacks": [],
    "send_stream": None,
}


class PlainClient:
    """One model by `dspy.LM(engine="lm15")`. The LM is a means: it counts and streams nothing itself.

    Args:
        spec: The model.
        key: Its key.

    Raises:
        ConfigError: There is no route to this model.
    """

    def __init__(self, spec: ModelSpec, key: str) -> None:
        named = door_of(spec)
        door = "openai" if named in OWN_DOORS else _SPELLED.get(named, named)
        if not door:
            raise ConfigError(
                f"There is no route to {spec.model} with this version of dspy.",
                hint="Install the version that pyproject.toml names.",
            )
        self._model = spec.model
        self._lm = dspy.LM(
            f"{door}/{spec.model.partition('/')[2]}",
            cache=False,
            num_retries=0,
            engine="lm15",
            timeout=spec.timeout,
            api_key=key,
            api_base=effective_address(spec),
        )

    def complete(self, request: Request) -> Response:
        """The answer."""
        with typed(self._model, self._model.partition("/")[0]), dspy.context(**_QUIET):
            return self._lm(request=replace(request, model=self._lm.model))

    async def acomplete(self, request: Request) -> Response:
        """The answer, awaited."""
        with typed(self._model, self._model.partition("/")[0]), dspy.context(**_QUIET):
            return await self._lm.acall(request=replace(request, model=self._lm.model))

    def stream(self, request: Request) -> Iterator[Any]:
        """The whole answer, as events."""
        yield from response_to_events(self.complete(request))

    async def astream(self, request: Request) -> AsyncIterator[Any]:
        """The whole answer, as events."""
        for event in response_to_events(await self.acomplete(request)):
            yield event
            await asyncio.sleep(0)

    def close(self) -> None:
        """Close the connections of threads."""
        self._lm.close()
