"""A request for a chat completion: read, checked, and known again when it is asked for again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from skill_fleet.simulator.bodies import ApiError

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MOST_CHOICES = 128
_DEEPEST = 50
"""Levels of a JSON schema."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read.

    Attributes:
        model: As asked for.
        system: All system and developer messages before the first other one.
        turns: (role, text) of all further messages; role is `user` or `assistant`.
        temperature: As asked for, or None.
        max_tokens: Most tokens of an answer, or None.
        seed: The `seed` field, or None.
        choices: How many answers, `n`.
        stream: Whether as events.
        usage_in_stream: Whether the events end with the usage.
        response_format: As asked for, without what its type has no use for; None is plain text.
        prompt_hash: Identifies the messages.
        key: Identifies the request: model, messages, temperature and seed.
    """

    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    choices: int
    stream: bool
    usage_in_stream: bool
    response_format: Mapping[str, Any] | None
    prompt_hash: str
    key: str

    @property
    def prompt(self) -> str:
        """All messages, one under the other."""
        said = [self.system] if self.system else []
        return "\n".join([*said, *(text for _, text in self.turns)])

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer is to fit, or None."""
        found: Mapping[str, Any] | None = (self.response_format or {}).get("json_schema", {}).get("schema")
        return found

    @property
    def prompt_tokens(self) -> int:
        """As the offline model counts them: four characters each, rounded up."""
        return -(-(len(self.system) + sum(len(text) for _, text in self.turns)) // 4)


def read_asked(body: bytes) -> Asked:
    """What a body asks for. Parameters that a simulator has no use for are taken and ignored.

    Raises:
        ApiError: 400: it is no request; `param` names what is wrong.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError.bad(f"The body is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError.bad("The body is not a JSON object.")
    model = value.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError.bad("The model is missing.", "model")
    system, turns = _messages(value.get("messages"))
    temperature = _number(value, "temperature", 0, 2)
    seed = _whole(value, "seed", -(2**63), 2**63 - 1)
    longest = [_whole(value, name, 1, 2**31) for name in ("max_completion_tokens", "max_tokens")]
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise ApiError.bad("stream_options is not an object.", "stream_options")
    digest = _digest(system, *(part for turn in turns for part in turn))
    return Asked(
        model=model,
        system=system,
        turns=turns,
        temperature=temperature,
        max_tokens=min((each for each in longest if each is not None), default=None),
        seed=seed,
        choices=_whole(value, "n", 1, MOST_CHOICES) or 1,
        stream=_flag(value, "stream"),
        usage_in_stream=_flag(options or {}, "include_usage"),
        response_format=_format(value.get("response_format")),
        prompt_hash=digest,
        key=_digest(model, digest, repr(temperature), repr(seed)),
    )


def _messages(value: Any) -> tuple[str, tuple[tuple[str, str], ...]]:
    if not isinstance(value, list) or not value:
        raise ApiError.bad("messages is not a list of at least one message.", "messages")
    system: list[str] = []
    turns: list[tuple[str, str]] = []
    for place, message in enumerate(value):
        where = f"messages[{place}]"
        if not isinstance(message, dict):
            raise ApiError.bad(f"{where} is not an object.", where)
        role = message.get("role")
        if role not in _ROLES:
            raise ApiError.bad(f"{where}.role is none of {', '.join(_ROLES)}.", f"{where}.role")
        said = _text(message.get("content"), f"{where}.content", needed=role != "assistant")
        if role in {"system", "developer"} and not turns:
            system.append(said)
        else:
            turns.append(("assistant" if role == "assistant" else "user", said))
    return "\n\n".join(system), tuple(turns) or (("user", ""),)


def _text(content: Any, where: str, *, needed: bool) -> str:
    """The text of a message; of other parts (images, sounds) only that they are there."""
    if isinstance(content, str):
        return content
    if content is None and not needed:
        return ""
    if not isinstance(content, list):
        raise ApiError.bad(f"{where} is neither text nor a list of parts.", where)
    out: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise ApiError.bad(f"{where} has a part without a type.", where)
        said = part.get("text", part.get("refusal")) if kind in {"text", "refusal"} else f"[{kind}]"
        if not isinstance(said, str):
            raise ApiError.bad(f"{where} has a part of type {kind} without its text.", where)
        out.append(said)
    return "".join(out)


def _number(value: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    found = value.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        raise ApiError.bad(f"{name} is not a number from {least} to {most}.", name)
    return float(found)


def _whole(value: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    found = value.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise ApiError.bad(f"{name} is not a whole number from {least} to {most}.", name)
    return found


def _flag(value: Mapping[str, Any], name: str) -> bool:
    found = value.get(name)
    if found is not None and not isinstance(found, bool):
        raise ApiError.bad(f"{name} is neither true nor false.", name)
    return bool(found)


def _format(value: Any) -> Mapping[str, Any] | None:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise ApiError.bad(
            "response_format.type is none of text, json_object, json_schema.", "response_format.type"
        )
    if kind == "text":
        return None
    if kind == "json_schema":
        inner = value.get("json_schema")
        if not isinstance(inner, dict) or not _is_schema(inner.get("schema", {})):
            raise ApiError.bad(
                "response_format.json_schema has no JSON schema.", "response_format.json_schema"
            )
        return {"type": kind, "json_schema": inner}
    return {"type": kind}


def _is_schema(value: Any, depth: int = 0) -> bool:
    """Whether it has the form of a JSON schema, as far as an answer is made of it."""
    if not isinstance(value, dict) or depth > _DEEPEST:
        return False
    inner = [value[name] for name in ("items",) if name in value]
    for name in ("properties", "$defs"):
        if not isinstance(value.get(name, {}), dict):
            return False
        inner += value.get(name, {}).values()
    for name in ("anyOf", "oneOf", "allOf"):
        if not isinstance(value.get(name, []), list):
            return False
        inner += value.get(name, [])
    lists = (value.get(name, []) for name in ("enum", "required"))
    plain = all(isinstance(each, list) for each in lists) and isinstance(value.get("$ref", ""), str)
    return plain and all(_is_schema(each, depth + 1) for each in inner)


def _digest(*parts: str) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8))
        hasher.update(part.encode())
    return hasher.hexdigest()[:32]
