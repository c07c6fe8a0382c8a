"""What a vendor answers and what it means: the body goes over HTTP, from a server on this machine."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from dspy.lm15 import Message, Request

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.providers.provider import Provider
from wires import Reply, wire_server


@dataclass(frozen=True)
class Case:
    """An answer of some vendor's.

    Attributes:
        name: Of the test.
        model: Whose prefix says how the vendor is spoken to.
        reply: What it answers.
        failure: What that means.
    """

    name: str
    model: str
    reply: Reply
    failure: Failure


def stop(code: str) -> Failure:
    """Every request will meet it."""
    return Failure(code, "stop", sent=False)


def give_up(code: str, *, sent: bool = False) -> Failure:
    """This request will always meet it; `sent`: it was worked on."""
    return Failure(code, "give_up", sent=sent, answered=sent)


def wait(seconds: float | None = None, code: str = "rate_limit") -> Failure:
    """It passes, after so long where that is said."""
    return Failure(code, "retry", sent=False, retry_after=seconds)


SERVER = Failure("server", "retry", sent=True)
LONG = give_up("context_window_exceeded")


def reply(status: int, body: Any, **headers: str) -> Reply:
    """An answer with headers whose names have `_` for `-`."""
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def failed(case: Case, *, awaited: bool = False) -> Exception:
    """What one attempt ends with, whole."""
    request = Request(model=case.model, messages=(Message.user("hello"),))
    with wire_server(case.reply) as server:
        provider = _to(case.model, server.url)
        try:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is is looked at
                asyncio.run(provider.acomplete(request)) if awaited else provider.complete(request)
        finally:
            provider.close()
    assert len(server.asked) == 1
    return caught.value


def streamed(model: str, answer: Reply, *, awaited: bool = False) -> list[Any]:
    """The events of one attempt by stream, and what it ended with if that is an error."""
    request = Request(model=model, messages=(Message.user("hello"),))
    heard: list[Any] = []

    async def all_of_it(provider: Provider) -> None:
        async for event in provider.astream(request):
            heard.append(event)  # noqa: PERF401 - kept also where it breaks off

    with wire_server(answer) as server:
        provider = _to(model, server.url)
        try:
            if awaited:
                asyncio.run(all_of_it(provider))
            else:
                heard.extend(provider.stream(request))
        except Exception as error:  # noqa: BLE001 - what it is is looked at
            heard.append(error)
        finally:
            provider.close()
    return heard


def _to(model: str, url: str) -> Provider:
    base = f"{url}/v1" if model.startswith("openai/") else url
    return Provider(ModelSpec(model=model, api_base=base, api_key_env="K"), {"K": "planted-key-1"})
