"""Who answers: the script where it matches, else the offline model, by prompt, temperature and seed alone."""

import functools
import json

from dspy.lm15 import Config, Message, Request

from skill_fleet.llm.call_context import CallContext, Calling
from skill_fleet.llm.offline import text
from skill_fleet.llm.offline.answering import Given, answer
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.model import OfflineModel, seed_in
from skill_fleet.llm.offline.prompt import Field, read_request
from skill_fleet.simulator.asking import Asked
from skill_fleet.simulator.bodies import Choice


@functools.lru_cache(maxsize=64)
def _model(name: str) -> OfflineModel:
    """The offline model of that name; one that is only `simulated/` answers as the first of them."""
    return OfflineModel(seed_in(name) if name.startswith("offline/") else 0)


def answers(asked: Asked) -> list[Choice]:
    """What the offline model says to a request; the request's seed is its rollout."""
    messages = tuple(
        Message.assistant(said) if role == "assistant" else Message.user(said) for role, said in asked.turns
    )
    config = Config(temperature=asked.temperature, max_tokens=asked.max_tokens)
    request = Request(model=asked.model, system=asked.system or None, messages=messages, config=config)
    model = _model(asked.model)
    out: list[Choice] = []
    for candidate in range(asked.choices):
        with Calling(CallContext("evaluation", rollout=asked.seed, candidate=candidate)):
            response = model.complete(request)
        said, finish = response.message.text or "", response.finish_reason
        if asked.response_format is not None and finish == "stop" and not _is_object(said):
            said = _as_json(said, request, asked, model.seed, candidate)
        out.append(Choice(said, finish, text.token_count(said)))
    return out


def scripted(said: str, asked: Asked) -> list[Choice]:
    """A given text as the answer, cut off where `max_tokens` asks for that."""
    most, finish = asked.max_tokens, "stop"
    if most is not None and text.token_count(said) > most:
        said, finish = said[: 4 * most], "length"
    return [Choice(said, finish, text.token_count(said))] * asked.choices


def _is_object(said: str) -> bool:
    try:
        return isinstance(json.loads(said), dict)
    except ValueError:
        return False


def _as_json(said: str, request: Request, asked: Asked, seed: int, candidate: int) -> str:
    """An object for whoever asked for one: of the schema's form, or with the text in it."""
    schema = asked.schema
    if schema is None:
        return json.dumps({"answer": said}, ensure_ascii=False)
    prompt = read_request(request)
    temperature = asked.temperature or 0.0
    rollout = f"{asked.seed}/{candidate}/{temperature}" if temperature > 0 else ""
    luck = Draws(str(seed), prompt.digest, prompt.item, temperature, rollout)
    scene = Scene(stems=text.stems(prompt.text), lowered=prompt.text.lower())
    value = answer(Field("answer", "object", schema=schema), Given(prompt, scene, [], luck))
    return json.dumps(value, ensure_ascii=False)
