"""A call made in an `except` block: what is being handled there is none of its causes."""

import asyncio
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMTimeoutError, LMTransportError

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.calls.engine import AsyncMeteredEngine, Retry
from skill_fleet.llm.testing import ScriptedModel

REQUEST = Request(model="offline/scripted", messages=(Message.user("a"),))
PRICED = ModelSpec(
    model="openai/priced", max_tokens=100, price=PriceOverride(input_per_million=1, output_per_million=1)
)


class ConnectError(Exception):
    """As clients call it: nothing was sent."""


class ReadTimeout(Exception):
    """As clients call it: the answer did not come in time."""


def read() -> None:
    raise ReadTimeout("read")


def late(*_: Any) -> None:
    """As a client fails: what it raises itself knows what the caller was handling."""
    try:
        read()
    except ReadTimeout as error:
        raise LMTimeoutError("timed out") from error


def away(*_: Any) -> None:
    raise LMTransportError("away") from ConnectError("connect")


def by_stream(made: Any) -> None:
    list(made.engine.stream(REQUEST))


def by_awaited_stream(made: Any) -> None:
    async def all_of_it() -> None:
        async for _ in AsyncMeteredEngine(made.engine).stream(REQUEST):
            pass

    asyncio.run(all_of_it())


WAYS = {
    "thread": lambda made: made.engine.complete(REQUEST),
    "task": lambda made: asyncio.run(AsyncMeteredEngine(made.engine).complete(REQUEST)),
    "stream": by_stream,
    "awaited stream": by_awaited_stream,
}


async def in_a_task(made: Any) -> None:
    """The fallback is awaited in the very task that handles the first failure."""
    try:
        away()
    except LMTransportError:
        await AsyncMeteredEngine(made.engine).complete(REQUEST)


@pytest.mark.parametrize("way", WAYS)
def test_a_fallback_that_breaks_off_may_have_been_billed(rig: Any, way: str) -> None:
    made = rig(ScriptedModel(fault=late), spec=PRICED, on_failure="raise", retry=Retry(attempts=1))
    try:
        away()
    except LMTransportError:
        with pytest.raises(LMTimeoutError):
            WAYS[way](made)
    assert made.spent.possibly_billed == 1
    assert made.account._spent.usd > 0


def test_so_may_one_that_is_awaited_there(rig: Any) -> None:
    made = rig(ScriptedModel(fault=late), spec=PRICED, on_failure="raise", retry=Retry(attempts=1))
    with pytest.raises(LMTimeoutError):
        asyncio.run(in_a_task(made))
    assert made.spent.possibly_billed == 1


def test_what_was_not_sent_is_not_billed_there_either(rig: Any) -> None:
    made = rig(ScriptedModel(fault=away), spec=PRICED, on_failure="raise", retry=Retry(attempts=1))
    try:
        late()
    except LMTimeoutError:
        with pytest.raises(LMTransportError):
            made.engine.complete(REQUEST)
    assert made.spent.possibly_billed == 0
    assert made.account._spent.usd == 0
