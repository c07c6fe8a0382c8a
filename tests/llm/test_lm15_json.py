"""Requests and answers as JSON: our own words say what DSPy's say, and hold where those were not checked."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dspy
import orjson
import pytest
from dspy import lm15
from dspy.lm15 import Config, Message, Request, Response, TextPart, Usage
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.llm import lm15_json
from skill_fleet.llm.lm15_json import (
    request_to_dict,
    response_from_dict,
    response_said,
    response_to_dict,
    said,
)
from skill_fleet.llm.testing import ScriptedModel

STATE = lm15.ContinuationState(provider="p", kind="k", data={"a": [1, None, ""]})
PARTS = [
    TextPart(""),
    TextPart("é 漢 🎈", continuation=(STATE, lm15.ContinuationState(provider="p", kind="k"))),
    lm15.ThinkingPart("hm"),
    lm15.RefusalPart("no"),
    lm15.CitationPart(url="https://x", title="t"),
    lm15.CitationPart(text="t"),
    lm15.ImagePart(data="AAAA", media_type="image/png", detail="high"),
    lm15.AudioPart(url="https://x/a.wav"),
    lm15.VideoPart(file_id="f"),
    lm15.DocumentPart(path="a/b.pdf"),
    lm15.BinaryPart(data="AAAA"),
    lm15.ToolCallPart(id="1", name="search", input={}),
    lm15.ToolCallPart(id="1", name="search", input={"for": ["a", None, {}], "n": 0}),
    lm15.DataPart(value=None),
    lm15.DataPart(
        value={"a": []}, probabilities={"label": {"yes": 1, "no": 0.0}}, method="provider_classification"
    ),
]
RESULTS = [
    lm15.ToolResultPart(id="1", content=(TextPart("found"),)),
    lm15.ToolResultPart(
        id="1", content=(TextPart("x"), lm15.ImagePart(data="AAAA")), name="search", is_error=True
    ),
]
CONFIGS = [
    Config(),
    Config(max_tokens=5, temperature=0, top_p=0.0, top_k=3, stop=("a", "b"), seed=0, store=False, logprobs=0),
    Config(response_format={"type": "json_object"}, extensions={"a": None}, user_id="u", service_tier="x"),
    Config(
        frequency_penalty=0.0, presence_penalty=0.5, reasoning=lm15.Reasoning(effort="low", summary="auto")
    ),
    Config(tool_choice=lm15.ToolChoice(), cache=lm15.CacheConfig()),
    Config(tool_choice=lm15.ToolChoice(mode="required", allowed=("t",), parallel=False)),
    Config(cache=lm15.CacheConfig(retention="long", key="k")),
]
TOOLS = (
    lm15.FunctionTool(name="t"),
    lm15.FunctionTool(name="u", description="", parameters={}),
    lm15.BuiltinTool(name="web"),
    lm15.BuiltinTool(name="code", config={"a": 1}),
)
LOGPROBS = (
    lm15.TokenLogprob("", 0.0),
    lm15.TokenLogprob("a", -1.5, bytes=(97,), token_id=7, top=(lm15.TopLogprob("", -2.0, (98,), 0),)),
)


def request(**fields: Any) -> Request:
    return Request(**{"model": "m", "messages": (Message.user("x"),), **fields})


def response(*parts: Any, **fields: Any) -> Response:
    message = Message(role="assistant", parts=parts or (TextPart("x"),), continuation=(STATE,))
    given = {"id": None, "model": "m", "finish_reason": "stop", "usage": Usage(), **fields}
    return Response(message=message, **given)


REQUESTS = [
    *(request(messages=(Message(role="assistant", parts=(part,)),)) for part in PARTS),
    *(request(messages=(Message(role="tool", parts=(part,)),)) for part in RESULTS),
    *(request(config=config, tools=TOOLS) for config in CONFIGS),
    request(system="be brief", tools=TOOLS),
    request(system="be brief", tools=TOOLS[:1]),
    request(system=(TextPart("be"), TextPart("brief"))),
]
RESPONSES = [
    *(response(part) for part in PARTS),
    response(*PARTS),
    response(id="i", usage=Usage(input_tokens=0, output_tokens=4, cache_read_tokens=1)),
    response(logprobs=LOGPROBS),
    response(logprobs=LOGPROBS[:1], logprobs_complete=False),
    response(adaptations=(lm15.Adaptation(field="seed", action="dropped", reason="r", asked=1, applied=""),)),
    response(finish_reason="length", provider_data={"usage": {"tier": ["a", None, {}], "n": 0}}),
    response(provider_data={}),
]


def as_text(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


@pytest.fixture
def no_words() -> Iterator[None]:
    """Nothing is known of this process's DSPy, before and after."""
    lm15_json._words.cache_clear()
    yield
    lm15_json._words.cache_clear()


@pytest.mark.parametrize("asked", REQUESTS, ids=range(len(REQUESTS)))
def test_our_words_for_a_request_are_those_of_dspy(asked: Request) -> None:
    assert as_text(said(asked)) == as_text(request_to_dict(asked))


@pytest.mark.parametrize("answer", RESPONSES, ids=range(len(RESPONSES)))
def test_our_words_for_an_answer_are_those_of_dspy_and_it_comes_back(answer: Response) -> None:
    stored = as_text(response_to_dict(answer))
    assert as_text(said(answer)) == stored
    assert response_said(orjson.loads(stored)) == response_from_dict(orjson.loads(stored))


@given(
    texts=st.lists(st.text(), min_size=1, max_size=3),
    system=st.none() | st.text(min_size=1),
    temperature=st.none() | st.floats(0, 2),
    seed=st.none() | st.integers(0, 2**31),
)
def test_any_texts_and_numbers_have_the_same_words(
    texts: list[str], system: str | None, temperature: float | None, seed: int | None
) -> None:
    asked = request(
        messages=tuple(map(Message.user, texts)),
        system=system,
        config=Config(temperature=temperature, seed=seed),
    )
    assert as_text(said(asked)) == as_text(request_to_dict(asked))


@dataclass(frozen=True)
class LaterConfig(Config):  # type: ignore[misc]
    """What a patch of DSPy might make of it."""

    colour: str = "grey"
    strict: bool = False


def test_a_field_that_is_new_is_named_only_where_it_is_set() -> None:
    assert said(request(config=LaterConfig(seed=1))) == said(request(config=Config(seed=1)))
    assert said(request(config=LaterConfig(strict=True)))["config"] == {"strict": True}


@pytest.mark.parametrize("part", [{"type": "hologram", "text": "x"}, {"type": "text", "colour": "red"}, {}])
def test_an_answer_with_what_nobody_knows_is_none(part: dict[str, Any]) -> None:
    stored = said(response())
    stored["message"]["parts"] = [part]
    with pytest.raises((ValueError, TypeError, LookupError)):
        response_said(stored)


@pytest.mark.usefixtures("no_words")
@pytest.mark.parametrize("harm", ["another version", "gone"])
def test_with_a_dspy_that_was_not_checked_every_key_and_every_answer_stays(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    made = rig(ScriptedModel(answer=lambda _: "paid"))
    asked = request(system="s", config=Config(temperature=0.7, max_tokens=9))
    key = made.engine.keyed(asked)[1]
    assert made.lm("ask") == ["paid"]
    caplog.clear()
    lm15_json._words.cache_clear()
    if harm == "gone":
        monkeypatch.setattr(lm15_json, "_SERDE", "dspy._vendor.lm15.moved_away")
    else:
        monkeypatch.setattr(dspy, "__version__", "3.4.99")
    with caplog.at_level(logging.WARNING):
        assert made.engine.keyed(asked)[1] == key
    again = rig(made.model, line=None)
    assert again.lm("ask") == ["paid"], "read from the journal, where another had stored it"
    assert again.lm("ask anew") == ["paid"]
    assert made.model.attempts == 2
    told = [record.getMessage() for record in caplog.records if "own functions" in record.getMessage()]
    assert len(told) == 1, "once"
