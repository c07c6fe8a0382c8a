"""The table of providers, and what is said about those that are not in it."""

from typing import Any

import pytest
from dspy.lm15 import Message, Request
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError, KeyMissing
from skill_fleet.llm.limits.limiters import Limiters
from skill_fleet.llm.providers.provider import NO_KEY, client_of, key_of
from skill_fleet.llm.providers.routes import (
    ROUTES,
    address_of,
    door_of,
    effective_address,
    is_loopback,
    list_of_models,
    origin_of,
    route_of,
    takes_seed,
    usual_keys,
)
from wires import Reply, chat, wire_server


def spec(model: str, base: str | None = None, **changes: object) -> ModelSpec:
    return ModelSpec.model_validate({"model": model, "api_base": base, **changes})


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.prefix)
def test_a_route_agrees_with_dspys_own_table(route: object) -> None:
    from dspy._vendor.lm15.registry import PROVIDERS

    from skill_fleet.llm.providers.routes import OWN_DOORS, Route

    assert isinstance(route, Route)
    if route.door in OWN_DOORS:
        assert route.door not in PROVIDERS, "DSPy has a door of its own now: use that"
        return
    known = PROVIDERS[route.door]
    assert set(known.env_keys) & set(route.keys) or route.local
    if route.address is not None:
        theirs = known.base_url or known.adapter.__dataclass_fields__["base_url"].default
        assert route.address == theirs
    wire = {"openai-chat": "openai", "anthropic": "anthropic", "gemini": "gemini"}[known.dialect]
    assert route.wire == wire


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.prefix)
def test_every_route_opens_from_a_plain_entry(route: object) -> None:
    from skill_fleet.llm.providers.routes import Route

    assert isinstance(route, Route)
    base = None if route.address else "https://mine.openai.azure.com"
    entry = spec(f"{route.prefix}/some/name:1b", base)
    environ = dict.fromkeys(route.keys[:1], "planted-key-1")
    assert key_of(entry, environ) == (NO_KEY if route.local else "planted-key-1")
    client = client_of(entry, key_of(entry, environ))
    client.close()
    assert effective_address(entry) == (route.address or base)
    if not route.local:
        with pytest.raises(KeyMissing, match=route.keys[0]) as caught:
            key_of(entry, {})
        assert caught.value.exit_code == 6
        assert caught.value.hint == f"export {route.keys[0]}=…"


def test_a_usual_key_goes_to_the_providers_own_address_only() -> None:
    environ = {"OPENAI_API_KEY": "planted-key-1", "MINE": "planted-key-2"}
    assert key_of(spec("openai/m"), environ) == "planted-key-1"
    assert key_of(spec("openai/m", "http://localhost:1/v1"), environ) == NO_KEY
    assert key_of(spec("openai/m", "http://localhost:1/v1", api_key_env="MINE"), environ) == "planted-key-2"
    assert usual_keys("openai") == ("OPENAI_API_KEY",)
    assert usual_keys("ollama_chat") == ()
    assert usual_keys("nobody") == ()


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("mistral/large", "openai/large with api_base: https://api.mistral.ai/v1"),
        ("together_ai/a/b", "openai/a/b with api_base: https://api.together.xyz/v1"),
        ("bedrock/x", "litellm/bedrock/x"),
        ("vertex_ai/x", "litellm/vertex_ai/x"),
        ("claude-code/opus", "command/claude"),
    ],
)
def test_what_has_no_door_is_told_in_one_sentence_what_to_use(model: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        route_of(model)
    assert model in caught.value.message
    assert caught.value.message.count(". ") == 0
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("model", "base", "address"),
    [
        ("ollama_chat/m", "http://gpu:11434", "http://gpu:11434/v1"),
        ("ollama_chat/m", "http://gpu:11434/", "http://gpu:11434/v1"),
        ("vllm/m", "http://gpu:8000/v1/", "http://gpu:8000/v1"),
        ("lm_studio/m", "http://gpu:1234/other", "http://gpu:1234/other"),
        ("anthropic/m", "https://proxy.example", "https://proxy.example/v1"),
        ("gemini/m", "https://proxy.example", "https://proxy.example/v1beta"),
        ("openai/m", "https://proxy.example", "https://proxy.example"),
        ("llama_cpp/m", "http://[::1]:8080", "http://[::1]:8080/v1"),
        ("llama_cpp/m", "http://user:pass@gpu:8080", "http://gpu:8080/v1"),
    ],
)
def test_a_host_alone_gets_the_path_its_server_answers_at(model: str, base: str, address: str) -> None:
    assert effective_address(spec(model, base)) == address


@pytest.mark.parametrize(
    "base", ["localhost:8000", "ftp://x/v1", "http://", "http://x:port/v1", "http://a b/v1", "/v1"]
)
def test_what_is_no_address_is_said_so_before_any_call(base: str) -> None:
    for model in ("openai/m", "ollama/m", "azure/m"):
        with pytest.raises(ConfigError, match="api_base") as caught:
            client_of(spec(model, base), "k")
        assert base.strip() not in caught.value.message.split() or base == "/v1"


def test_an_address_with_parameters_is_refused_and_they_are_not_repeated() -> None:
    """The path of a request would follow them: `/v1?key=…/chat/completions`."""
    for model in ("openai/m", "ollama/m", "azure/m", "litellm/openai/m"):
        with pytest.raises(ConfigError, match="parameters") as caught:
            client_of(spec(model, "http://host/v1?api_key=planted"), "k")
        assert "planted" not in caught.value.message + caught.value.hint
        assert "api_key_env" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "base", "asked"),
    [
        ("azure/m", "https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1/models"),
        ("azure/m", "https://me.openai.azure.com/openai", "https://me.openai.azure.com/openai/v1/models"),
        ("azure/m", "https://me.openai.azure.com/openai/v1/", "https://me.openai.azure.com/openai/v1/models"),
        ("azure/m", "https://gate.example/a", "https://gate.example/a/openai/v1/models"),
        ("gemini/m", "https://gate.example", "https://gate.example/v1beta/models?pageSize=1000"),
        ("anthropic/m", None, "https://api.anthropic.com/v1/models?limit=1000"),
        ("openai/m", None, "https://api.openai.com/v1/models"),
        ("ollama/m", None, "http://localhost:11434/v1/models"),
    ],
)
def test_where_the_list_of_models_is(model: str, base: str | None, asked: str) -> None:
    assert list_of_models(spec(model, base)) == asked


@pytest.mark.parametrize("path", ["", "/", "/openai", "/openai/v1", "/gateway", "/openai/deployments/m"])
def test_azures_list_is_asked_where_its_calls_go(path: str) -> None:
    with wire_server(Reply(chat())) as server:
        entry = spec("azure/m", f"{server.url}{path}")
        client = client_of(entry, "planted-key-1")
        client.complete(Request(model="azure/m", messages=(Message.user("x"),)))
        client.close()
    assert server.url + server.asked[0].path == list_of_models(entry).replace("/models", "/chat/completions")


def test_azure_without_an_address_is_asked_for_it() -> None:
    with pytest.raises(ConfigError, match="Azure"):
        effective_address(spec("azure/deployment"))


def test_only_compatible_servers_are_told_from_openai_itself() -> None:
    assert door_of(spec("openai/m")) == "openai-chat"
    assert door_of(spec("openai/m", "https://api.openai.com/v1")) == "openai-chat"
    assert door_of(spec("openai/m", "https://gateway.example/v1")) == "openai-compatible"
    assert door_of(spec("openai/o3-mini", "https://gateway.example/v1")) == "openai-chat"
    assert door_of(spec("openai/openrouter/gpt-5", "https://gateway.example/v1")) == "openai-chat"
    assert door_of(spec("openai/gpt-4o", "https://gateway.example/v1")) == "openai-compatible"


def test_an_account_is_a_server_and_a_key_however_its_models_are_spelled() -> None:
    from clocks import FakeClock
    from skill_fleet.config.settings import Calls

    limiters, clock = Limiters(), FakeClock()

    def of(entry: ModelSpec, key: str | None = None) -> object:
        return limiters.of(entry, key, clock, Calls())

    same = of(spec("ollama_chat/a"))
    assert of(spec("ollama/b", "http://localhost:11434")) is same
    assert of(spec("ollama/b", "http://localhost:11435")) is not same
    assert of(spec("openai/a"), "k1") is of(spec("openai/b", "https://api.openai.com/v1/"), "k1")
    assert of(spec("openai/a"), "k1") is not of(spec("openai/a"), "k2")
    assert address_of(spec("nobody/m", "nonsense")) == "nonsense"
    assert address_of(spec("offline/rules-v1")) is None


def test_the_journal_tells_servers_apart_by_their_effective_address(rig: Any) -> None:
    request = Request(model="ollama/m", messages=(Message.user("x"),))

    def key(base: str | None) -> str:
        return rig(object(), spec=spec("ollama/m", base)).engine.keyed(request)[1]

    assert key(None) == key("http://localhost:11434") == key("http://localhost:11434/v1/")
    assert key("http://me:secret@localhost:11434") == key(None)
    assert key("http://gpu:11434") != key(None)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.9/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://10.0.0.1/v1", False),
        ("http://localhost.example/v1", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_this_machine_is_known_by_its_addresses(address: str, here: bool) -> None:
    assert is_loopback(address) is here


def test_the_seed_goes_where_it_is_documented_or_configured() -> None:
    assert takes_seed(spec("openai/m"))
    assert not takes_seed(spec("anthropic/m"))
    assert takes_seed(spec("anthropic/m", send_seed=True))
    assert not takes_seed(spec("openai/m", send_seed=False))
    assert not takes_seed(spec("litellm/mistral/m"))


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading_of_an_address(base: str) -> None:
    entry = ModelSpec.model_construct(model="openai/m", api_base=base)
    try:
        address = effective_address(entry)
    except ConfigError:
        return
    assert address is not None
    scheme, host, _ = origin_of(address)
    assert scheme in {"http", "https"}
    assert host
