"""litellm in a process of its own: importing it takes seconds, and changes the process."""

import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PLACES: set[str] = set()
THOUGHTS = {
    "promptTokenCount": 3,
    "candidatesTokenCount": 2,
    "thoughtsTokenCount": 5000,
    "totalTokenCount": 5005,
}
GROK = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5005,
    "completion_tokens_details": {"reasoning_tokens": 5000},
}
CLAUDE = {
    "input_tokens": 3,
    "output_tokens": 2,
    "cache_read_input_tokens": 4000,
    "cache_creation_input_tokens": 1000,
}


def watched(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        PLACES.add(str(args[1]))
    elif event == "socket.getaddrinfo":
        PLACES.add(f"name {args[0]}")


def main() -> None:
    import asyncio
    import time

    from dspy.lm15 import Config, Message, Request

    from skill_fleet.config.settings import ModelSpec
    from skill_fleet.llm.billed import billed
    from skill_fleet.llm.failures import understand
    from skill_fleet.llm.providers.provider import Provider
    from wires import Reply, chat, chat_events, generated, message, openai_error, wire_server

    before = "litellm" in sys.modules
    model = "litellm/openai/m"
    request = Request(model=model, messages=(Message.user("hello"),), config=Config(max_tokens=200))
    held = threading.Event()
    replies = {
        "key": Reply(openai_error("Incorrect API key provided", code="invalid_api_key"), 401),
        "quota": Reply(openai_error("no money", "insufficient_quota", "insufficient_quota"), 429),
        "rate": Reply(
            openai_error("slow down", "requests", "rate_limit_exceeded"), 429, {"retry-after": "7"}
        ),
        "long": Reply(openai_error("maximum context length is 9", code="context_length_exceeded"), 400),
        "model": Reply(openai_error("The model `m` does not exist", code="model_not_found"), 404),
        "late": Reply(chat(), hold=held),
    }
    # Gemini and xAI count the thinking apart, Anthropic what is cached; litellm adds it up.
    apart = {
        "gemini": Reply({**generated(), "usageMetadata": THOUGHTS}),
        "xai": Reply({**chat(), "usage": GROK}),
        "anthropic": Reply({**message(), "usage": CLAUDE}),
    }
    counts: dict[str, Any] = {}
    failures: dict[str, Any] = {}
    with wire_server(Reply(chat()), Reply(chat()), Reply(chat_events("fi", "ne"))) as server:
        provider = Provider(
            ModelSpec(model=model, api_base=f"{server.url}/v1", api_key_env="K"), {"K": "planted-1"}
        )
        opened = "litellm" in sys.modules
        sys.addaudithook(watched)
        texts = [
            provider.complete(request).message.text,
            asyncio.run(provider.acomplete(request)).message.text,
        ]
        texts.append("".join(e.delta.text for e in provider.stream(request) if e.type == "delta"))
        urls, sent = [server.url], server.asked[0].body
    for name, reply in apart.items():
        with wire_server(reply) as server:
            urls.append(server.url)
            base = f"{server.url}/v1" if name == "xai" else server.url
            named = f"litellm/{name}/m"
            there = ModelSpec(model=named, api_base=base, api_key_env="K")
            answer = Provider(there, {"K": "planted-1"}).complete(replace(request, model=named))
            both = [billed(spec, answer) for spec in (there, ModelSpec(model=named))]
            counts[name] = [None if one is None else [one.input, one.output] for one in both]
    for name, reply in replies.items():
        with wire_server(reply) as server:
            urls.append(server.url)
            timeout = 3.0 if name == "late" else 60.0
            spec = ModelSpec(model=model, api_base=f"{server.url}/v1", api_key_env="K", timeout=timeout)
            provider = Provider(spec, {"K": "planted-1"})
            begin = time.monotonic()
            try:
                provider.complete(request)
            except Exception as error:  # noqa: BLE001 - what it is is looked at
                failure = understand(error)
                said = [failure.code, failure.remedy, failure.sent, failure.retry_after]
                failures[name] = [*said, round(time.monotonic() - begin)]
            if name == "late":
                held.set()
    sys.stdout.write(
        json.dumps(
            {
                "imported": [before, opened],
                "texts": texts,
                "model": sent["model"],
                "failures": failures,
                "counts": counts,
                "places": sorted(PLACES),
                "urls": urls,
            }
        )
    )


if __name__ == "__main__":
    main()
