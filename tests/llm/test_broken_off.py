"""Half answers that a server calls half answers, in words that DSPy's client takes for a whole one."""

import asyncio
import json
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMStreamAssemblyError
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import Failure, understand
from skill_fleet.llm.providers.broken_off import StreamEnd
from skill_fleet.llm.providers.provider import Provider
from vendor_cases import streamed
from wires import Reply, chat, chat_events, wire_server

REQUEST = Request(model="openrouter/m", messages=(Message.user("hello"),))


def openrouter() -> dict[str, Any]:
    """As OpenRouter documents an answer whose provider failed in the middle."""
    body = chat("half an answer", "error")
    body["choices"][0]["error"] = {"code": 502, "message": "Provider disconnected"}
    return body


def vllm(reason: str = "abort") -> list[str]:
    """As vLLM ends a stream when its engine is stopped: usage and `[DONE]` come as ever."""
    return chat_events("half ", "an answer", finish=reason)


@pytest.mark.parametrize("awaited", [False, True], ids=["thread", "task"])
def test_half_an_answer_is_no_answer_whoever_was_paid_for_it(awaited: bool) -> None:
    with wire_server(Reply(openrouter())) as server:
        provider = Provider(
            ModelSpec(model="openrouter/m", api_base=server.url, api_key_env="K"), {"K": "k" * 9}
        )
        response = asyncio.run(provider.acomplete(REQUEST)) if awaited else provider.complete(REQUEST)
        provider.close()
    assert response.finish_reason == "error"
    assert response.usage.output_tokens == 20


def test_it_is_booked_at_what_it_used_and_asked_again(rig: Any) -> None:
    spec = ModelSpec(
        model="openrouter/m",
        api_key_env="K",
        price=PriceOverride(input_per_million=100, output_per_million=100),
    )
    with wire_server(Reply(openrouter()), Reply(chat())) as server:
        provider = Provider(spec.model_copy(update={"api_base": server.url}), {"K": "k" * 9})
        made = rig(provider, spec=spec, retry=Retry(base=0.0))
        assert made.lm("hello") == ["fine"]
        provider.close()
    query = "select state, reason from ledger.attempt order by id"
    assert made.journal._db.execute(query).fetchall() == [("failed", "broken_off"), ("settled", None)]
    assert made.spent.usd == pytest.approx(0.01)


@pytest.mark.parametrize("awaited", [False, True], ids=["thread", "task"])
@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_stream_that_says_so_at_its_end_is_cut_off(reason: str, awaited: bool) -> None:
    heard = streamed("hosted_vllm/m", Reply(vllm(reason)), awaited=awaited)
    assert isinstance(heard[-1], LMStreamAssemblyError)
    assert understand(heard[-1]) == Failure("stream_assembly", "retry", sent=True, answered=True)
    assert [event.type for event in heard[:-1]] == ["start", "delta", "delta"]


@pytest.mark.parametrize("reason", ["stop", "eos_token"])
def test_another_reason_ends_it(reason: str) -> None:
    assert streamed("hosted_vllm/m", Reply(vllm(reason)))[-1].finish_reason == "stop"


def test_an_answer_that_speaks_of_it_is_whole() -> None:
    words = ('Set "finish_reason": "abort" or "error". ', '{"choices": [{"finish_reason": "error"}]}')
    heard = streamed("hosted_vllm/m", Reply(chat_events(*words)))
    assert "".join(event.delta.text for event in heard if event.type == "delta") == "".join(words)
    assert heard[-1].finish_reason == "stop"


LINES = st.lists(
    st.sampled_from(
        [*vllm(), "data: [DONE]", "", ": comment", 'data: {"error"', 'data: "abort"', "data: []", "\r"]
    ),
    max_size=12,
)


@given(LINES, st.integers(1, 80), st.booleans())
def test_in_pieces_of_any_size_only_the_reason_is_left_out(lines: list[str], size: int, ended: bool) -> None:
    text = "\n".join(lines) + ("\n" if ended else "")
    data, end = text.encode(), StreamEnd()
    passed = b"".join(end.feed(data[at : at + size]) for at in range(0, len(data), size)) + end.rest()
    before, after = text.split("\n"), passed.decode().split("\n")
    assert len(before) == len(after)
    for line, now in zip(before, after, strict=True):
        if '"abort"' in line and line.startswith("data: {"):
            told = json.loads(now.removeprefix("data:"))
            assert told["choices"][0].pop("finish_reason") is None
            was = json.loads(line.removeprefix("data:"))
            assert was["choices"][0].pop("finish_reason") == "abort"
            assert told == was
        else:
            assert now == line


def test_much_without_the_end_of_a_line_is_passed_on_once() -> None:
    end = StreamEnd()
    assert all(end.feed(b"x" * 1024) == b"" for _ in range(1024))
    assert len(end.rest()) == 2**20
    assert end.rest() == b""
