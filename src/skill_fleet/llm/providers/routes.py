"""Which providers there are: what their models are called, where they answer, and which key they want.

One table. DSPy's native client speaks the wires; a *door* is its name for a provider. Where it has no door
of its own for a local server (`llama_cpp/`, `lm_studio/`, `llamafile/`), ours is declared from its public
parts. What has none at all is refused in one sentence, and never handed to another client silently.
"""

import base64
import ipaddress
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.errors import ConfigError

Wire = Literal["openai", "anthropic", "gemini"]
LITELLM = "litellm"
LONGEST_ATTEMPT = 115.0
"""Seconds that an attempt may take at most: DSPy's evaluation sends again what takes 120."""
_HERE = frozenset({"offline", "command", LITELLM})
"""Providers that are no route over HTTP of ours."""


@dataclass(frozen=True)
class Route:
    """One provider.

    Attributes:
        prefix: How its models begin in `config.yaml`: `prefix/name`.
        door: What DSPy's client calls it.
        wire: The protocol: of OpenAI's chat completions, Anthropic's messages or Gemini's generateContent.
        address: Where it answers when `api_base` says nothing; None where only the user can know.
        keys: The variables its key is usually in; none for a server of one's own.
        root: What an `api_base` without a path gets, as people write only the host of these servers.
        seed: Whether it documents a `seed` in its requests.
        label: Its name.
    """

    prefix: str
    door: str
    wire: Wire
    address: str | None
    keys: tuple[str, ...]
    label: str
    root: str = ""
    seed: bool = True

    @property
    def local(self) -> bool:
        """Whether it is a server of one's own, which wants no key."""
        return not self.keys


def _hosted(prefix: str, label: str, address: str, key: str, *, door: str = "", seed: bool = True) -> Route:
    return Route(prefix, door or prefix, "openai", address, (key,), label, seed=seed)


def _local(prefix: str, label: str, port: int, door: str) -> Route:
    return Route(prefix, door, "openai", f"http://localhost:{port}/v1", (), label, root="/v1")


_ANTHROPIC = "https://api.anthropic.com/v1"
_GEMINI = "https://generativelanguage.googleapis.com/v1beta"
_GEMINI_KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_AZURE_KEYS = ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")
_MOONSHOT = "https://api.moonshot.ai/v1"

_AZURE_PATH = ("openai", "v1")
_WHOLE_PAGE: dict[Wire, str] = {"gemini": "?pageSize=1000", "anthropic": "?limit=1000"}
"""As many models as each gives at once; without it Gemini gives 50 of them, Anthropic 20."""

ROUTES: tuple[Route, ...] = (
    _hosted(
        "openai", "OpenAI and compatible", "https://api.openai.com/v1", "OPENAI_API_KEY", door="openai-chat"
    ),
    Route(
        "anthropic",
        "anthropic",
        "anthropic",
        _ANTHROPIC,
        ("ANTHROPIC_API_KEY",),
        "Anthropic",
        "/v1",
        seed=False,
    ),
    Route("gemini", "gemini", "gemini", _GEMINI, _GEMINI_KEYS, "Google Gemini", "/v1beta"),
    Route("azure", "azure-chat", "openai", None, _AZURE_KEYS, "Azure OpenAI"),
    _hosted("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    _hosted("groq", "Groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _hosted("xai", "xAI", "https://api.x.ai/v1", "XAI_API_KEY"),
    _hosted("deepseek", "DeepSeek", "https://api.deepseek.com", "DEEPSEEK_API_KEY", seed=False),
    _hosted("moonshot", "Moonshot AI", _MOONSHOT, "MOONSHOT_API_KEY", door="moonshotai", seed=False),
    _hosted("zai", "Z.AI", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", seed=False),
    _hosted("meta", "Meta", "https://api.meta.ai/v1", "META_API_KEY", door="meta-chat", seed=False),
    _local("ollama_chat", "Ollama", 11434, "ollama"),
    _local("ollama", "Ollama", 11434, "ollama"),
    _local("hosted_vllm", "vLLM", 8000, "vllm"),
    _local("vllm", "vLLM", 8000, "vllm"),
    _local("sglang", "SGLang", 30000, "sglang"),
    _local("llama_cpp", "llama.cpp server", 8080, "llama-cpp"),
    _local("llamafile", "llamafile", 8080, "llamafile"),
    _local("lm_studio", "LM Studio", 1234, "lm-studio"),
)
_BY_PREFIX = {route.prefix: route for route in ROUTES}
COMPATIBLE = "openai-compatible"
OWN_DOORS: tuple[str, ...] = ("llama-cpp", "llamafile", "lm-studio", COMPATIBLE)
"""Doors that DSPy's client does not have and that are declared to it."""
_REASONING = re.compile(r"(?:.*/)?(?:o\d|gpt-[5-9])")

# Addresses with OpenAI's protocol of what has no door: what the hint offers.
_ELSEWHERE = {
    "mistral": "https://api.mistral.ai/v1",
    "together_ai": "https://api.together.xyz/v1",
    "fireworks_ai": "https://api.fireworks.ai/inference/v1",
    "cerebras": "https://api.cerebras.ai/v1",
}
_LOGINS = {"claude-code": "command/claude", "claude_code": "command/claude", "openai-codex": "command/codex"}


def route_of(model: str) -> Route:
    """The route of a model string.

    Raises:
        ConfigError: DSPy's client has no door for this provider.
    """
    prefix, _, name = model.partition("/")
    route = _BY_PREFIX.get(prefix)
    if route is not None:
        return route
    if prefix in _LOGINS:
        raise ConfigError(
            f"There is no route to {model}: a subscription is used through its own command line.",
            hint=f"Use {_LOGINS[prefix]} as the model.",
        )
    base = _ELSEWHERE.get(prefix, "its OpenAI-compatible address")
    raise ConfigError(
        f"There is no route to {model}: nothing here speaks to the provider '{prefix}' directly.",
        hint=f"Use openai/{name} with api_base: {base} and api_key_env, or litellm/{model}.",
    )


def is_local(spec: ModelSpec) -> bool:
    """Whether a model is on a server of one's own by its provider's name."""
    route = _BY_PREFIX.get(spec.provider)
    return route is not None and route.local


def door_of(spec: ModelSpec) -> str:
    """What DSPy's client calls the server of a model.

    A server that is only compatible with OpenAI's is asked with `max_tokens`, which all of them know; OpenAI
    itself, and its reasoning models wherever they are, with `max_completion_tokens`.

    Raises:
        ConfigError: There is no route to this model.
    """
    route = route_of(spec.model)
    if route.prefix != "openai" or spec.api_base is None or _REASONING.match(spec.model.partition("/")[2]):
        return route.door
    return route.door if has_own_address(spec) else COMPATIBLE


def has_own_address(spec: ModelSpec) -> bool:
    """Whether a model is asked at its provider's own address: no other server answers in its name."""
    route = _BY_PREFIX.get(spec.provider)
    if spec.api_base is None or (route is not None and route.address is None):
        return True
    return route is not None and origin_of(str(route.address)) == origin_of(spec.api_base)


def usual_keys(provider: str) -> tuple[str, ...]:
    """The variables that the key of a provider is usually in; none where it wants no key, or nobody knows."""
    route = _BY_PREFIX.get(provider)
    return () if route is None else route.keys


def effective_address(spec: ModelSpec) -> str | None:
    """Where the requests of a model go, without any user name or password; None where there is no telling.

    An `api_base` that is a host only gets the path that its server is known to answer at.

    Raises:
        ConfigError: `api_base` is no address of a web server, has parameters, or is missing and needed.
    """
    if spec.provider in _HERE:
        return None if spec.api_base is None else _address(spec.api_base, spec.model, "")
    route = route_of(spec.model)
    if spec.api_base is not None:
        return _address(spec.api_base, spec.model, route.root)
    if route.address is None:
        raise ConfigError(
            f"The model {spec.model} needs the address of your {route.label} resource.",
            hint="Set its api_base, for example https://my-resource.openai.azure.com.",
        )
    return route.address


def list_of_models(spec: ModelSpec) -> str:
    """The address of a provider's list of models, on one page where its protocol has pages.

    Raises:
        ConfigError: As `effective_address` says, or the model is on no server.
    """
    route, address = route_of(spec.model), str(effective_address(spec))
    if route.prefix == "azure":
        address = _joined(address, _AZURE_PATH)
    return f"{address}/models{_WHOLE_PAGE.get(route.wire, '')}"


def _joined(address: str, path: tuple[str, ...]) -> str:
    """An address with the path that DSPy's client adds: what is left of it where the address ends within."""
    parts = urlsplit(address)
    given = [segment for segment in parts.path.split("/") if segment]
    begun = next((n for n in range(len(path), 0, -1) if given[-n:] == list(path[:n])), 0)
    whole = [*given, *path[begun:]]
    return urlunsplit(parts._replace(path="/" + "/".join(whole)))


def address_of(spec: ModelSpec) -> str | None:
    """What tells servers apart in keys and accounts: the effective address, or what is configured."""
    try:
        return effective_address(spec)
    except ConfigError:
        return spec.api_base


def _address(text: str, model: str, root: str) -> str:
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host or re.search(r"\s", text.strip()):
        raise ConfigError(
            f"The api_base of {model} is not the address of a web server.",
            hint="It begins with http:// or https://, for example http://localhost:8000/v1.",
        )
    if parts.query:
        raise ConfigError(
            f"The api_base of {model} has parameters, which no request could carry where they belong.",
            hint="Leave off what begins with '?'; a key is in the variable that api_key_env names.",
        )
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/") or root, "", ""))


def login_in(spec: ModelSpec) -> tuple[str, str] | None:
    """The user name and password that stand in `api_base`; None where there are none."""
    parts = urlsplit(spec.api_base or "")
    if parts.username is None and parts.password is None:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


def basic_login(spec: ModelSpec) -> str | None:
    """What is sent in place of a key where `api_base` has a user name and a password; else None."""
    pair = login_in(spec)
    return None if pair is None else "Basic " + base64.b64encode(":".join(pair).encode()).decode()


def origin_of(address: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address."""
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme.lower(), (parts.hostname or "").lower(), port


def is_loopback(address: str) -> bool:
    """Whether an address is this machine: it is then asked directly, whatever proxies are set."""
    host = origin_of(address)[1]
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def takes_seed(spec: ModelSpec) -> bool:
    """Whether the rollout travels as the request's `seed`: as configured, else where it is documented."""
    if spec.send_seed is not None:
        return spec.send_seed
    return spec.provider in _BY_PREFIX and _BY_PREFIX[spec.provider].seed
