"""What an answer is billed for, whatever its provider's counters leave out: one table, and what follows."""

import json
from dataclasses import fields
from typing import Any

import pytest
from dspy.clients import costs
from dspy.clients.costs import estimate_cost
from dspy.lm15 import Config, Message, Request, Response, TextPart, Usage
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.billed import Billed, billed, counted, documented
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.pricing import _LISTED_CACHE_BESIDE, _LISTED_REASONING_BESIDE, Price, bill_of, price_of
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.providers.routes import ROUTES
from wires import Reply, chat, chat_events, generated, message, message_events, wire_server

OWN = PriceOverride(input_per_million=1, output_per_million=1)
PREFIXES = [*(route.prefix for route in ROUTES), "litellm/openai", "litellm/gemini", "litellm/anthropic"]
ELSEWHERE = "http://127.0.0.1:1/v1"


def spec(prefix: str, **more: Any) -> ModelSpec:
    return ModelSpec(model=f"{prefix}/m", **more)


def response(usage: Usage, said: dict[str, Any] | None = None) -> Response:
    return Response(
        id=None,
        model="m",
        message=Message.assistant([TextPart("x")]),
        finish_reason="stop",
        usage=usage,
        provider_data=said,
    )


def asked(model: str = "openai/m", **config: Any) -> Request:
    return Request(model=model, messages=(Message.user("x"),), config=Config(**config))


def usage(read: int = 0, written: int = 0, thought: int = 0, total: int | None = None) -> Usage:
    """100 tokens in and 50 out, and some of the rest."""
    return Usage(100, 50, total, read or None, written or None, thought or None)


TABLE = [
    ("openai", usage(80, 5, 40), (100, 50)),
    ("azure", usage(80, 5, 40), (100, 50)),
    ("groq", usage(80, 5, 40), (100, 50)),
    ("openrouter", usage(80, 5, 40), (100, 50)),
    ("deepseek", usage(80, 0, 40), (100, 50)),
    ("anthropic", usage(80, 5, 40), (185, 50)),
    ("gemini", usage(80, 0, 40, 190), (100, 90)),
    ("xai", usage(80, 0, 40), (100, 90)),
    ("litellm/openai", usage(80, 5, 40), (100, 50)),
    ("litellm/gemini", usage(80, 5, 40), (100, 50)),
    ("litellm/anthropic", usage(80, 5, 40), (100, 50)),
]


@pytest.mark.parametrize(("prefix", "given_", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_each_provider_by_its_own_rule(prefix: str, given_: Usage, expected: tuple[int, int]) -> None:
    assert billed(spec(prefix), response(given_)) == Billed(*expected)


@pytest.mark.parametrize("prefix", ["openai", "zai", "vllm"])
def test_where_no_rule_is_known_the_servers_own_total_decides_and_without_it_the_larger_reading(
    prefix: str,
) -> None:
    model = spec(prefix, api_base=ELSEWHERE)
    for total, expected in ((150, (100, 50)), (190, (100, 90))):
        said = {"usage": {"total_tokens": total}}
        assert billed(model, response(usage(80, 0, 40, total), said)) == Billed(*expected)
    assert billed(model, response(usage(80, 0, 40))) == Billed(180, 90)
    assert billed(model, response(usage())) == Billed(100, 50)


def test_a_total_that_holds_more_than_is_told_counts_though_nobody_says_what_it_was() -> None:
    """Google's OpenAI-compatible address leaves the thinking out of all but the total."""
    said = {"usage": {"total_tokens": 5150}}
    model = spec("openai", api_base=ELSEWHERE)
    assert billed(model, response(usage(total=5150), said)) == Billed(100, 5050)


counts = st.integers(0, 10_000)
maybe = st.none() | counts
usages = st.builds(Usage, counts, counts, maybe, maybe, maybe, maybe)
addresses = st.sampled_from([None, ELSEWHERE])
prefixes = st.sampled_from(PREFIXES)


@given(prefixes, addresses, usages, st.booleans())
def test_never_less_than_is_told(prefix: str, base: str | None, given_: Usage, said: bool) -> None:
    body = {"usage": {"total_tokens": given_.total_tokens}} if said else None
    found = billed(spec(prefix, api_base=base), response(given_, body))
    assert found is not None
    cached = (given_.cache_read_tokens or 0) + (given_.cache_write_tokens or 0)
    assert found.input >= max(given_.input_tokens or 0, cached)
    assert found.output >= max(given_.output_tokens or 0, given_.reasoning_tokens or 0)
    assert found.input + found.output >= (given_.total_tokens or 0)
    assert found.input <= (given_.input_tokens or 0) + cached, "and never more than all there is"
    details = (given_.reasoning_tokens or 0) + (given_.total_tokens or 0)
    assert found.output <= (given_.output_tokens or 0) + details


@given(prefixes, addresses, counts, counts)
def test_without_details_it_is_what_is_told(prefix: str, base: str | None, into: int, out: int) -> None:
    assert billed(spec(prefix, api_base=base), response(Usage(into, out))) == Billed(into, out)


@given(prefixes, st.none() | counts, st.none() | counts)
def test_what_is_not_told_is_unknown(prefix: str, into: int | None, out: int | None) -> None:
    found = billed(spec(prefix), response(Usage(into, out, 70, 5, 5, 5)))
    assert (found is None) == (into is None or out is None)


@settings(max_examples=300, deadline=None)
@given(prefixes, usages)
def test_a_price_of_ones_own_and_the_list_bill_the_same_tokens(prefix: str, given_: Usage) -> None:
    """With one price for every token, DSPy's list comes to the tokens that we count, for each provider."""
    flat = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(costs, "model_info", lambda *_, **__: flat)
        listed = bill_of(spec(prefix), Price(1e-6, 1e-6), asked(), response(given_))
    own = bill_of(spec(prefix, price=OWN), Price(1e-6, 1e-6), asked(), response(given_))
    assert (listed.input_tokens, listed.output_tokens) == (own.input_tokens, own.output_tokens)
    assert listed.usd == pytest.approx(own.usd)
    assert own.usd == pytest.approx(((own.input_tokens or 0) + (own.output_tokens or 0)) / 1e6)


def test_what_dspys_list_takes_a_counter_to_leave_out_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = {"input_cost_per_token": 1.0, "output_cost_per_token": 1.0}
    monkeypatch.setattr(costs, "model_info", lambda *_, **__: flat)
    listed = {route.prefix for route in ROUTES} | _LISTED_CACHE_BESIDE | _LISTED_REASONING_BESIDE
    listed |= {"vertex_ai", "bedrock", "mistral", "cohere", "azure_ai"}
    for provider in listed:
        cached, _ = estimate_cost(response(usage(80)), provider=provider, requested_model="m")
        thought, _ = estimate_cost(response(usage(thought=40)), provider=provider, requested_model="m")
        assert cached == (230 if provider in _LISTED_CACHE_BESIDE else 150), provider
        assert thought == (190 if provider in _LISTED_REASONING_BESIDE else 150), provider


def test_dspy_counts_in_the_ways_that_the_table_knows() -> None:
    names = {field.name for field in fields(Usage)}
    audio = {"input_audio_tokens", "output_audio_tokens"}  # always inside
    assert names - audio == {
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    }
    assert "not on Gemini and xAI" in " ".join((Usage.__doc__ or "").split())
    assert "but not on Anthropic" in " ".join((Usage.__doc__ or "").split())


def test_litellms_gemini_and_anthropic_are_priced_once() -> None:
    """litellm adds thoughts and cached tokens to its counters; DSPy's list would add them again."""
    flash = ModelSpec(model="litellm/gemini/gemini-2.5-flash")
    price = price_of(flash)
    assert price is not None
    found = bill_of(flash, price, asked(), response(Usage(1000, 6000, 7000, None, None, 5000)))
    assert (found.input_tokens, found.output_tokens) == (1000, 6000)
    assert found.usd == pytest.approx(1000 * price.input + 6000 * price.output)
    haiku = ModelSpec(model="litellm/anthropic/claude-haiku-4-5")
    price = price_of(haiku)
    assert price is not None
    found = bill_of(haiku, price, asked(), response(Usage(1000, 10, 1010, 900, 0, 0)))
    assert (found.input_tokens, found.output_tokens) == (1000, 10)
    assert found.usd == pytest.approx(100 * price.input + 90 * price.input + 10 * price.output)


@pytest.mark.parametrize("tier", ["on_demand", "ON_DEMAND", "auto", "default", "standard", "Standard"])
def test_a_tier_without_a_price_of_its_own_leaves_the_cost_known(tier: str) -> None:
    model = ModelSpec(model="groq/openai/gpt-oss-20b")
    plain = bill_of(model, price_of(model), asked(), response(usage())).usd
    assert plain
    assert bill_of(model, price_of(model), asked(), response(usage(), {"service_tier": tier})).usd == plain
    nested = {"usageMetadata": {"serviceTier": tier}}
    assert bill_of(model, price_of(model), asked(), response(usage(), nested)).usd == plain
    assert bill_of(model, price_of(model), asked(service_tier=tier), response(usage())).usd == plain


def test_a_tier_with_another_price_is_not_taken_for_the_usual_one() -> None:
    model = ModelSpec(model="openai/gpt-4o-mini")
    price = price_of(model)
    plain = bill_of(model, price, asked(), response(usage())).usd
    dear = bill_of(model, price, asked(), response(usage(), {"service_tier": "priority"})).usd
    assert plain is not None
    assert dear is None or dear > plain
    assert bill_of(model, price, asked(), response(usage(), {"service_tier": "provisioned"})).usd is None
    served = response(usage(), {"service_tier": "default"})
    assert bill_of(model, price, asked(service_tier="priority"), served).usd == plain, (
        "what was served counts"
    )


THOUGHTS = {"promptTokenCount": 3, "candidatesTokenCount": 2, "thoughtsTokenCount": 5000}
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


def _events_with(counters: dict[str, Any]) -> list[str]:
    *events, last, done = chat_events("fine")
    chunk = json.loads(last.removeprefix("data: "))
    return [*events, "data: " + json.dumps({**chunk, "usage": counters}), done]


WIRES = {
    "gemini": Reply({**generated(), "usageMetadata": THOUGHTS}),
    "xai": Reply({**chat(), "usage": GROK}),
    "anthropic": Reply({**message(), "usage": CLAUDE}),
    "openai": Reply({**chat(), "usage": GROK}),
}


@pytest.mark.parametrize("prefix", WIRES)
def test_ledger_account_and_dollars_have_what_is_billed_and_a_cap_on_tokens_holds(
    rig: Any, prefix: str
) -> None:
    with wire_server(WIRES[prefix]) as server:
        base = f"{server.url}/v1" if prefix == "openai" else server.url
        model = spec(prefix, api_base=base, api_key_env="K", max_tokens=6000, price=OWN, tpm=100_000)
        provider = Provider(model, {"K": "planted-key-1"})
        made = rig(provider, spec=model, limits=Limits(tokens=12_000), on_failure="raise")
        assert made.lm("hello") == ["fine"]
        spent = made.spent
        assert spent.input_tokens + spent.output_tokens == 5005
        assert spent.usd == pytest.approx(0.005005)
        assert spent.bound_tokens == 5005
        made.lm("hello 1")
        with pytest.raises(Halt):  # 10010 and the most that a third can use are too many
            made.lm("hello 2")
        provider.close()
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("prefix", "events"),
    [
        ("xai", _events_with(GROK)),
        ("openai", _events_with(GROK)),
        ("anthropic", message_events("fine")),
        ("gemini", [f"data: {json.dumps({**generated('fine'), 'usageMetadata': THOUGHTS})}"]),
    ],
)
def test_a_streamed_answer_is_billed_as_a_whole_one(prefix: str, events: list[str]) -> None:
    from dspy.lm15 import ResponseStream

    if prefix == "anthropic":
        events = [
            event.replace('"input_tokens": 30, "output_tokens": 1', json.dumps(CLAUDE)[1:-1])
            for event in events
        ]
    with wire_server(Reply(events)) as server:
        base = f"{server.url}/v1" if prefix == "openai" else server.url
        model = spec(prefix, api_base=base, api_key_env="K")
        provider = Provider(model, {"K": "planted-key-1"})
        request = Request(model=model.model, messages=(Message.user("hello"),))
        answer = ResponseStream(iter(provider.stream(request)), request=request).response
        provider.close()
    found = billed(model, answer)
    assert found is not None
    assert found.input + found.output == (5023 if prefix == "anthropic" else 5005)


def test_counters_without_a_model_are_read_as_at_the_providers_own_address() -> None:
    assert counted(documented("gemini"), usage(80, 0, 40)) == Billed(100, 90)
    assert counted(documented("nobody"), usage(80, 0, 40), said=False) == Billed(180, 90)


@pytest.mark.parametrize("prefix", ["gemini", "xai", "anthropic"])
def test_the_limit_of_a_minute_is_kept_by_what_is_billed(rig: Any, clock: Any, prefix: str) -> None:
    with wire_server(WIRES[prefix]) as server:
        model = spec(prefix, api_base=server.url, api_key_env="K", max_tokens=6000, tpm=5006)
        provider = Provider(model, {"K": "planted-key-1"})
        limiter = Limiter(clock, longest_pause=60.0, outage_seconds=120.0)
        made = rig(provider, spec=model, limiter=limiter, on_failure="raise")
        made.lm("hello")
        began = clock.monotonic()
        made.lm("hello again")
        provider.close()
    assert 50 <= clock.monotonic() - began <= 61, "5005 tokens are all that a minute has"
