"""An answer that is known to be of no use as it comes in: booked as paid, and nothing is left held."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from dspy.lm15 import Message, Request
from dspy.utils.exceptions import LMServerError

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.testing import ScriptedModel
from watched_limiter import WatchedLimiter
from wires import Reply, wire_server

BOTH = pytest.mark.parametrize("how", ["sync", "async", "stream"])
PRICED = ModelSpec(
    model="openai/priced",
    max_tokens=100,
    rpm=60,
    price=PriceOverride(input_per_million=1, output_per_million=1),
)


def ask(made: Any, how: str, text: str = "hello") -> None:
    if how == "stream":
        list(made.engine.stream(Request(model=made.engine.spec.model, messages=(Message.user(text),))))
    elif how == "async":
        asyncio.run(made.lm.acall(text))
    else:
        made.lm(text)


def withheld(code: str = "content_filter") -> UnusableAnswer:
    return UnusableAnswer("The provider's filter withheld the answer.", code=code, finish_reason="SAFETY")


def failing(*errors: Exception | None) -> Callable[[int, Request], None]:
    def fault(number: int, _: Request) -> None:
        error = errors[number - 1] if number <= len(errors) else None
        if error is not None:
            raise error

    return fault


def booked(made: Any) -> list[tuple[Any, ...]]:
    return made.journal._db.execute(
        "select state, reason, possibly_billed from ledger.attempt order by id"
    ).fetchall()


@BOTH
def test_what_is_withheld_is_booked_as_paid_without_an_answer(rig: Any, how: str) -> None:
    limiter = WatchedLimiter()
    made = rig(ScriptedModel(fault=failing(withheld())), spec=PRICED, limiter=limiter, on_failure="raise")
    with pytest.raises(UnusableAnswer):
        ask(made, how)
    assert booked(made) == [("failed", "content_filter", 1)]
    assert [ticket.ends[0] for ticket in limiter.tickets] == [("answered", None)]


@BOTH
def test_what_was_set_aside_for_it_counts_as_used(rig: Any, how: str) -> None:
    made = rig(
        ScriptedModel(fault=failing(*[withheld()] * 9)),
        spec=PRICED,
        limits=Limits(tokens=700),
        limiter=WatchedLimiter(),
        on_failure="raise",
    )
    for number in range(3):
        with pytest.raises(UnusableAnswer):
            ask(made, how, f"question {number}")
    with pytest.raises(Halt) as caught:
        ask(made, how, "one too many")
    reserved = made.journal._db.execute("select sum(reserved_tokens) from ledger.attempt").fetchone()[0]
    assert 400 < reserved <= 700
    assert f": {reserved} are used" in caught.value.error.message


@BOTH
def test_one_that_is_broken_off_is_asked_for_again_and_each_is_booked(rig: Any, how: str) -> None:
    made = rig(
        ScriptedModel(fault=failing(withheld("broken_off"), LMServerError("x", status=500))),
        spec=PRICED,
        limiter=WatchedLimiter(),
        retry=Retry(base=0.0),
    )
    ask(made, how)
    assert [state for state, *_ in booked(made)] == ["failed", "failed", "settled"]
    assert booked(made)[0] == ("failed", "broken_off", 1)


def test_gemini_withholding_over_its_wire(rig: Any) -> None:
    reply = Reply(
        {
            "candidates": [{"finishReason": "SAFETY", "index": 0}],
            "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
        }
    )
    with wire_server(reply) as server:
        spec = ModelSpec(
            model="gemini/gemini-2.5-flash",
            api_base=server.url,
            api_key_env="K",
            max_tokens=100,
            price=PriceOverride(input_per_million=1, output_per_million=1),
        )
        provider = Provider(spec, {"K": "planted-key-1"})
        made = rig(provider, spec=spec, limits=Limits(usd=1.0), on_failure="raise")
        for number in range(2):
            with pytest.raises(UnusableAnswer):
                made.lm(f"hello {number}")
        provider.close()
    assert booked(made) == [("failed", "content_filter", 1)] * 2
