"""What a call costs: from the operator, from the snapshot, or unknown; and the most it can cost."""

from typing import Any

import orjson
import pytest
from dspy._vendor.lm15.serde import request_to_dict
from dspy.clients import model_metadata
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from hypothesis import given, settings
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec, PriceOverride
from skill_fleet.llm.pricing import Price, bill_of, price_of, worst_case
from skill_fleet.llm.providers.provider import Provider
from skill_fleet.llm.testing import ScriptedModel, request_text

OWN = PriceOverride(input_per_million=3, output_per_million=15)


def response(model: str = "m", **usage: Any) -> Response:
    message = Message.assistant([TextPart("x")])
    return Response(id=None, model=model, message=message, finish_reason="stop", usage=Usage(**usage))


def cost_of(spec: ModelSpec, price: Price | None, asked: Request, answer: Response) -> float | None:
    return bill_of(spec, price, asked, answer).usd


def request(model: str = "openai/m", text: str = "x") -> Request:
    return Request(model=model, messages=(Message.user(text),))


@pytest.fixture
def fresh_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """DSPy as just imported: no price read yet, and no variable that keeps it off the network."""
    monkeypatch.setattr(model_metadata, "_data", None)
    monkeypatch.setattr(model_metadata, "_source", {})
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)


@pytest.mark.usefixtures("fresh_prices")
def test_a_known_model_is_priced_without_the_network() -> None:
    price = price_of(ModelSpec(model="openai/gpt-4o-mini"))
    assert price == Price(pytest.approx(0.15e-6), pytest.approx(0.60e-6))
    assert model_metadata.source_info()["source"] == "local"


@pytest.mark.usefixtures("fresh_prices")
def test_a_provider_reads_no_price_from_the_network_either() -> None:
    Provider(ModelSpec(model="openai/m", api_base="http://127.0.0.1:1/v1", price=OWN), {})
    assert model_metadata.source_info()["is_env_forced"]


def test_the_operators_price_goes_before_the_list() -> None:
    spec = ModelSpec(model="openai/gpt-4o-mini", price=OWN)
    assert price_of(spec) == Price(pytest.approx(3e-6), pytest.approx(15e-6))
    cost = cost_of(spec, price_of(spec), request(), response(input_tokens=1000, output_tokens=100))
    assert cost == pytest.approx(0.003 + 0.0015)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(model="openai/no-such-model-at-all"),
        ModelSpec(model="nobody/gpt-4o-mini"),
        ModelSpec(model="openai/gpt-4o-mini", api_base="http://127.0.0.1:1/v1"),
        ModelSpec(model="hosted_vllm/llama"),
    ],
    ids=["unknown model", "unknown provider", "a server of one's own", "local"],
)
def test_an_unknown_price_is_not_zero(spec: ModelSpec) -> None:
    assert price_of(spec) is None
    assert cost_of(spec, None, request(), response(input_tokens=1000, output_tokens=100)) is None
    assert worst_case(spec, None, 1000).usd is None


def test_a_model_by_litellm_has_the_price_of_its_own_name() -> None:
    known = price_of(ModelSpec(model="openai/gpt-4o-mini"))
    assert known is not None
    assert price_of(ModelSpec(model="litellm/openai/gpt-4o-mini")) == known
    assert price_of(ModelSpec(model="litellm/gpt-4o-mini")) == known


@pytest.mark.parametrize("model", ["ollama/llama3", "ollama_chat/llama3", "vllm/x"])
def test_a_server_of_ones_own_has_no_list_price_wherever_it_is(model: str) -> None:
    assert price_of(ModelSpec(model=model)) is None
    assert price_of(ModelSpec(model=model, api_base="http://gpu:1")) is None


def test_the_offline_model_is_free_and_that_is_known() -> None:
    spec = ModelSpec(model="offline/rules-v1")
    assert price_of(spec) == Price(0.0, 0.0)
    assert cost_of(spec, price_of(spec), request(), response(input_tokens=1000, output_tokens=100)) == 0.0


@pytest.mark.parametrize("usage", [{}, {"input_tokens": 5}, {"output_tokens": 5}])
def test_an_unknown_usage_is_an_unknown_cost(usage: dict[str, int]) -> None:
    for spec in (ModelSpec(model="openai/gpt-4o-mini"), ModelSpec(model="openai/m", price=OWN)):
        assert cost_of(spec, price_of(spec), request(), response(**usage)) is None


def test_cached_tokens_are_cheaper_by_the_lists_own_rules() -> None:
    spec = ModelSpec(model="openai/gpt-4o-mini")
    plain = cost_of(
        spec, price_of(spec), request(), response("gpt-4o-mini", input_tokens=1000, output_tokens=10)
    )
    cached = cost_of(
        spec,
        price_of(spec),
        request(),
        response("gpt-4o-mini", input_tokens=1000, output_tokens=10, cache_read_tokens=800),
    )
    assert plain == pytest.approx(1000 * 0.15e-6 + 10 * 0.6e-6)
    assert cached is not None
    assert plain is not None
    assert 0 < cached < plain


def test_an_answer_of_any_length_is_not_free_because_its_request_is() -> None:
    price = Price(0.0, 15e-6)
    assert worst_case(ModelSpec(model="openai/m"), price, 10).usd is None
    assert worst_case(ModelSpec(model="openai/m", max_tokens=2), price, 10).usd == pytest.approx(30e-6)


def test_a_requests_own_longest_answer_counts_before_the_models() -> None:
    spec = ModelSpec(model="openai/m", max_tokens=100, price=OWN)
    assert worst_case(spec, price_of(spec), 10).tokens == 110
    assert worst_case(spec, price_of(spec), 10, 5000).tokens == 5010
    assert worst_case(spec, price_of(spec), 0, 5000).usd == pytest.approx(5000 * 15e-6)


def test_a_call_that_asks_for_a_longer_answer_reserves_it(rig: Any) -> None:
    made = rig(spec=ModelSpec(model="openai/m", max_tokens=100, temperature=0.5, price=OWN))
    made.lm("hello")
    made.lm("hello", max_tokens=9000)
    reserved = made.journal._db.execute("select reserved_tokens from ledger.attempt order by id").fetchall()
    assert reserved[1][0] - reserved[0][0] >= 8900


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=4), st.floats(0, 100), st.floats(0, 100))
def test_no_call_uses_more_than_its_worst_case(texts: list[str], per_input: float, per_output: float) -> None:
    spec = ModelSpec(
        model="openai/m",
        max_tokens=2000,
        price=PriceOverride(input_per_million=per_input, output_per_million=per_output),
    )
    price = price_of(spec)
    asked = Request(model="openai/m", messages=tuple(Message.user(text or " ") for text in texts))
    document = orjson.dumps(request_to_dict(asked))
    worst = worst_case(spec, price, len(document))
    answer = ScriptedModel().complete(asked)
    used = (answer.usage.input_tokens or 0) + (answer.usage.output_tokens or 0)
    assert worst.tokens >= used
    cost = cost_of(spec, price, asked, answer)
    assert cost is not None
    assert worst.usd is not None
    assert worst.usd >= cost - 1e-12
    # The greediest tokenizer there is makes a token of every byte.
    assert worst.tokens - 2000 >= len("".join(message.text or "" for message in asked.messages).encode())
    assert request_text(asked)
