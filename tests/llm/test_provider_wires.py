"""Every route over its wire: what is asked, of which path, with which key; what comes of the answer."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from dspy.lm15 import Config, Message, Request, ResponseStream
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.call_context import CallContext, Calling
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.providers.rollout_seed import rollout_seed
from skill_fleet.llm.providers.stream_usage import StreamUsage
from wires import (
    Reply,
    WireServer,
    chat,
    chat_events,
    generated,
    generated_events,
    message,
    message_events,
    wire_server,
)

KEY = "planted-key-1"
BEARER = ("authorization", f"Bearer {KEY}")


@dataclass(frozen=True)
class Wire:
    """One wire: its path, how its key travels, answers whole and streamed."""

    path: str
    key: tuple[str, str]
    whole: Any
    events: Any
    streamed_path: str = ""


OPENAI = Wire("/chat/completions", BEARER, chat, chat_events)
LOCAL = Wire("/v1/chat/completions", BEARER, chat, chat_events)
WIRES: dict[str, Wire] = {
    **dict.fromkeys(("openai", "openrouter", "groq", "xai", "deepseek", "moonshot", "zai", "meta"), OPENAI),
    **dict.fromkeys(
        ("ollama_chat", "ollama", "hosted_vllm", "vllm", "sglang", "llama_cpp", "llamafile", "lm_studio"),
        LOCAL,
    ),
    "azure": Wire("/openai/v1/chat/completions", ("api-key", KEY), chat, chat_events),
    "anthropic": Wire("/v1/messages", ("x-api-key", KEY), message, message_events),
    "gemini": Wire(
        "/v1beta/models/m:generateContent",
        ("x-goog-api-key", KEY),
        generated,
        generated_events,
        "/v1beta/models/m:streamGenerateContent?alt=sse",
    ),
}


def asking(model: str) -> Request:
    return Request(
        model=model,
        system="Be brief.",
        messages=(Message.user("hello"),),
        config=Config(max_tokens=200, temperature=0.5),
    )


def at(server: WireServer, prefix: str, **changes: Any) -> Provider:
    spec = ModelSpec(model=f"{prefix}/m", api_base=server.url, api_key_env="K", **changes)
    return Provider(spec, {"K": KEY})


@pytest.mark.parametrize("prefix", WIRES)
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_route_asks_as_its_provider_wants_and_reads_the_answer(prefix: str, awaited: bool) -> None:
    wire = WIRES[prefix]
    with wire_server(Reply(wire.whole("fine words"))) as server:
        provider = at(server, prefix)
        request = asking(f"{prefix}/m")
        answer = asyncio.run(provider.acomplete(request)) if awaited else provider.complete(request)
        provider.close()
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", wire.path)
    assert asked.headers[wire.key[0]] == wire.key[1]
    sent = str(asked.body)
    assert "hello" in sent
    assert "Be brief." in sent
    assert "0.5" in sent
    assert "200" in sent
    assert answer.message.text == "fine words"
    assert answer.finish_reason == "stop"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 20)


@pytest.mark.parametrize("prefix", WIRES)
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
def test_a_route_streams_with_its_usage(prefix: str, awaited: bool) -> None:
    wire = WIRES[prefix]
    request = asking(f"{prefix}/m")
    with wire_server(Reply(wire.events("fine ", "words"))) as server:
        provider = at(server, prefix)

        async def all_of_it() -> list[Any]:
            return [event async for event in provider.astream(request)]

        events = asyncio.run(all_of_it()) if awaited else list(provider.stream(request))
        provider.close()
    assert [event.delta.text for event in events if event.type == "delta"] == ["fine ", "words"]
    answer = ResponseStream(iter(events), request).response
    assert answer.message.text == "fine words"
    assert answer.finish_reason == "stop"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (30, 20)
    (asked,) = server.asked
    assert asked.path == (wire.streamed_path or wire.path)
    if wire.whole is chat:
        assert asked.body["stream_options"] == {"include_usage": True}


@given(st.lists(st.integers(1, 400), max_size=60))
def test_the_count_of_the_input_is_carried_to_the_end_however_the_stream_is_cut(cuts: list[int]) -> None:
    events = message_events("fine ", "wörds \u2028 漢", "data: x\n")
    data = "".join(f"{event}\n\n" for event in events).encode()
    mender, mended = StreamUsage(), b""
    for cut in cuts:
        mended, data = mended + mender.feed(data[:cut]), data[cut:]
    mended += mender.feed(data) + mender.rest()
    said = [json.loads(line[5:]) for line in mended.decode().split("\n") if line.startswith("data:")]
    plain = [json.loads(event.split("data: ", 1)[1]) for event in events]
    assert said[-2]["usage"] == {"input_tokens": 30, "output_tokens": 20}
    assert [one for one in said if one["type"] != "message_delta"] == [
        one for one in plain if one["type"] != "message_delta"
    ]


@pytest.mark.parametrize(
    ("prefix", "reply", "reason"),
    [
        ("openai", chat("half an", "length"), "length"),
        ("openai", chat("", "content_filter"), "content_filter"),
        ("ollama_chat", chat("half an", "length"), "length"),
        ("azure", chat("", "content_filter"), "content_filter"),
        ("anthropic", message("half an", "max_tokens"), "length"),
        ("anthropic", message("", "refusal"), "content_filter"),
        ("anthropic", message("half an", "model_context_window_exceeded"), "length"),
        ("gemini", generated("half an", "MAX_TOKENS"), "length"),
    ],
)
def test_why_an_answer_ended_is_told_in_one_vocabulary(prefix: str, reply: Any, reason: str) -> None:
    with wire_server(Reply(reply)) as server:
        provider = at(server, prefix)
        answer = provider.complete(asking(f"{prefix}/m"))
        provider.close()
    assert answer.finish_reason == reason
    assert answer.usage.input_tokens == 30


def seeds(prefix: str, *calls: CallContext, **changes: Any) -> list[Any]:
    wire = WIRES[prefix]
    with wire_server(Reply(wire.whole())) as server:
        provider = at(server, prefix, **changes)
        for call in calls:
            with Calling(call):
                provider.complete(asking(f"{prefix}/m"))
                asyncio.run(provider.acomplete(asking(f"{prefix}/m")))
        provider.close()
    bodies = [one.body.get("generationConfig", one.body) for one in server.asked]
    assert bodies[::2] == bodies[1::2], "sync and async send the same"
    return [body.get("seed") for body in bodies[::2]]


CALLS = [
    CallContext("evaluation"),
    CallContext("evaluation", rollout=1),
    CallContext("evaluation", rollout=2),
    CallContext("evaluation", candidate=1),
]


@pytest.mark.parametrize("prefix", ["openai", "gemini", "azure", "groq", "ollama_chat", "llama_cpp", "vllm"])
def test_a_rollout_travels_as_the_seed(prefix: str) -> None:
    sent = seeds(prefix, *CALLS)
    assert sent == [None, rollout_seed(1, 0), rollout_seed(2, 0), rollout_seed(None, 1)]
    assert len(set(sent)) == 4
    assert all(0 <= seed < 2**31 for seed in sent[1:])


@pytest.mark.parametrize("prefix", ["anthropic", "deepseek", "moonshot"])
def test_no_seed_where_the_protocol_has_none(prefix: str) -> None:
    assert seeds(prefix, *CALLS) == [None] * 4


def test_the_seed_is_sent_or_not_as_configured() -> None:
    assert seeds("openai", *CALLS, send_seed=False) == [None] * 4
    assert seeds("deepseek", *CALLS, send_seed=True)[1] == rollout_seed(1, 0)


def test_a_seed_is_the_same_in_every_process() -> None:
    assert rollout_seed(7, 0) == 431379789
    assert rollout_seed(None, 0) is None


def test_an_own_server_is_asked_for_the_longest_answer_in_the_words_all_servers_know() -> None:
    for prefix, name, word in (
        ("openai", "m", "max_tokens"),
        ("openai", "gpt-5-mini", "max_completion_tokens"),
        ("llama_cpp", "m", "max_tokens"),
        ("ollama_chat", "m", "max_tokens"),
    ):
        with wire_server(Reply(chat())) as server:
            spec = ModelSpec(model=f"{prefix}/{name}", api_base=server.url)
            provider = Provider(spec, {})
            provider.complete(asking(spec.model))
            provider.close()
        assert server.asked[0].body[word] == 200
        assert server.asked[0].body["messages"][0] == {"role": "system", "content": "Be brief."}
