"""The engine: a `dspy.lm15.Request` in, a `Response` out, by rules alone.

Deterministic in prompt, seed, temperature, rollout and candidate index, at any number of threads; pure,
without state, network or clock. What it costs is counted in tokens like any model's, and no dollars.
"""

import html
import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from dspy._vendor.lm15.result import response_to_events
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from skill_fleet.foundation.errors import ConfigError
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.offline import reflecting, steps, text
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt, read_request
from skill_fleet.llm.offline.subject import subject_of

MODEL_NAME = "offline/rules-v1"
"""Provider and version. A change of behaviour is a new version: journals key their answers on this name."""

"""What every output that rests on the simulator says to its reader."""

FORMAT_SLIP = 0.01
"""How often an answer in the chat format misses its field markers, as language models' answers do."""


def seed_in(name: str) -> int:
    """The seed that a model's name asks for: `offline/rules-v1` is 0, `offline/rules-v1-s3` is 3.

    Raises:
        ConfigError: There is no such offline model.
    """
    found = re.fullmatch(rf"{re.escape(MODEL_NAME)}(?:-s(\d{{1,9}}))?", name)
    if found is None:
        raise ConfigError(
            f"There is no offline model named '{name}'.", hint=f"Use {MODEL_NAME} or {MODEL_NAME}-s1."
        )
    return int(found.group(1) or 0)


def model_name(seed: int = 0) -> str:
    """The name under which requests reach the engine: version and seed belong to it."""
    return f"{MODEL_NAME}-s{seed}"


class OfflineModel:
    """The model as an engine of `dspy.LM`.

    `dspy.LM(model_name(seed), engine=OfflineModel(seed), async_engine=AsyncOfflineModel(seed))`. Safe to
    share between threads and to copy.

    Args:
        seed: Which simulated model this is: what it finds hard and what it makes of a prompt.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def complete(self, request: Request) -> Response:
        """The answer to a request; cut off with `finish_reason` "length" where `max_tokens` is too small."""
        prompt = read_request(request)
        said = _answer(prompt, self._luck(prompt, request.config.temperature or 0.0))
        finish, limit = "stop", request.config.max_tokens
        if limit is not None and text.token_count(said) > limit:
            said, finish = said[: 4 * limit], "length"
        return Response(
            id=f"offline-{prompt.digest}",
            model=request.model,
            message=Message.assistant([TextPart(said)]),
            finish_reason=finish,
            usage=Usage(input_tokens=-(-prompt.size // 4), output_tokens=text.token_count(said)),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        """The same answer as stream events."""
        yield from response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing is held open."""

    def dump_state(self) -> dict[str, int]:
        """What makes an equal engine: the seed."""
        return {"seed": self.seed}

    @classmethod
    def load_state(cls, state: dict[str, int]) -> "OfflineModel":
        """The engine of a dumped state."""
        return cls(**state)

    def _luck(self, prompt: Prompt, temperature: float) -> Draws:
        rollout = ""
        if temperature > 0:
            call = current_call()
            rollout = f"{call.rollout}/{call.candidate}/{temperature}"
        return Draws(str(self.seed), prompt.digest, prompt.item, temperature, rollout)


class AsyncOfflineModel:
    """The async twin of `OfflineModel`: the same answers, awaited.

    Args:
        seed: As of `OfflineModel`.
    """

    def __init__(self, seed: int = 0) -> None:
        self._model = OfflineModel(seed)

    async def complete(self, request: Request) -> Response:
        """As `OfflineModel.complete`."""
        return self._model.complete(request)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """As `OfflineModel.stream`."""
        for event in self._model.stream(request):
            yield event

    async def aclose(self) -> None:
        """Nothing is held open."""

    def dump_state(self) -> dict[str, int]:
        """What makes an equal engine: the seed."""
        return self._model.dump_state()

    @classmethod
    def load_state(cls, state: dict[str, int]) -> "AsyncOfflineModel":
        """The engine of a dumped state."""
        return cls(**state)


def _answer(prompt: Prompt, luck: Draws) -> str:
    style = prompt.frame.style
    if style == "free" or not prompt.frame.outputs:
        return _free(prompt, luck)
    values = steps.answer_all(prompt, luck)
    if style == "json":
        return json.dumps(values, ensure_ascii=False)
    if style == "xml":
        return "\n\n".join(
            f"<{name}>\n{html.escape(_shown(value), quote=False)}\n</{name}>"
            for name, value in values.items()
        )
    if luck.happens(FORMAT_SLIP, "format"):
        return f"Here is what I have: {_shown(next(iter(values.values())))}"
    fields = [f"[[ ## {name} ## ]]\n{_shown(value)}" for name, value in values.items()]
    return "\n\n".join([*fields, "[[ ## completed ## ]]"])


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _free(prompt: Prompt, luck: Draws) -> str:
    """Text without DSPy's structure: gepa's raw reflection template, else a plain reply."""
    if "```" in prompt.text and "new instruction" in prompt.text:
        return reflecting.reflect_raw(prompt, luck)
    subject = subject_of(prompt.text[:2000])
    return f"To {subject.goal}: begin with {subject.terms[0]}, then check {subject.terms[-1]}."
