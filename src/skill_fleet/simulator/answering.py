"""Who answers: the script where it matches, else the offline model, by prompt, temperature and seed alone."""

import functools
import json

from dspy.lm15 import Config, Message, Request

from skill_fleet.llm.call_context import CallContext, Calling
from skill_fleet.llm.offline.model import OfflineModel, seed_in
from skill_fleet.llm.offline.text import token_count
from skill_fleet.simulator.asking import Asked
from skill_fleet.simulator.bodies import Choice


@functools.lru_cache(maxsize=64)
def _model(name: str) -> OfflineModel:
    """The offline model of that name; one that is only `simulated/` answers as the first of them."""
    return OfflineModel(seed_in(name) if name.startswith("offline/") else 0)


def answers(asked: Asked) -> list[Choice]:
    """What the offline model says to a request; the request's seed is its rollout."""
    messages = tuple(
        Message.assistant(text) if role == "assistant" else Message.user(text) for role, text in asked.turns
    )
    config = Config(temperature=asked.temperature, max_tokens=asked.max_tokens)
    request = Request(model=asked.model, system=asked.system or None, messages=messages, config=config)
    model = _model(asked.model)
    out: list[Choice] = []
    for candidate in range(asked.choices):
        with Calling(CallContext("evaluation", rollout=asked.seed, candidate=candidate)):
            response = model.complete(request)
        text, finish = response.message.text or "", response.finish_reason
        if asked.response_format is not None and finish == "stop":
            text = _as_json(text)
        out.append(Choice(text, finish, token_count(text)))
    return out


def scripted(text: str, asked: Asked) -> list[Choice]:
    """A given text as the answer, cut off where `max_tokens` asks for that."""
    most = asked.max_tokens
    cut = most is not None and token_count(text) > most
    said = text[: 4 * most] if cut and most is not None else text
    return [Choice(said, "length" if cut else "stop", token_count(said))] * asked.choices


def _as_json(text: str) -> str:
    """A text that is no JSON object, in one: whoever asked for JSON gets it."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return text if isinstance(found, dict) else json.dumps({"answer": text}, ensure_ascii=False)
