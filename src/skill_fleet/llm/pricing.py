"""What a call costs, offline: the operator's price, else the snapshot that ships with DSPy, else unknown."""

from dataclasses import dataclass, replace
from typing import Any

from skill_fleet.config.load import environment
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.billed import Billed, billed
from skill_fleet.llm.budget import Worst
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.llm.providers.routes import LITELLM, is_local


@dataclass(frozen=True)
class Price:
    """US dollars per token."""

    input: float
    output: float


def price_of(spec: ModelSpec) -> Price | None:
    """The price of a model, or None when nobody knows it. The built-in offline model costs nothing."""
    if spec.price is not None:
        return Price(spec.price.input_per_million / 1e6, spec.price.output_per_million / 1e6)
    if spec.offline:
        return Price(0.0, 0.0)
    if spec.api_base is not None or is_local(spec):
        return None  # a server of one's own has no list price
    environment()  # the packaged snapshot, not the network
    from dspy.clients.model_metadata import model_info, rate

    provider, name = _listed(spec)
    info = model_info(provider, name)
    per_input, per_output = rate(info, "input_cost_per_token"), rate(info, "output_cost_per_token")
    return None if per_input is None or per_output is None else Price(per_input, per_output)


def _listed(spec: ModelSpec) -> tuple[str, str]:
    """Provider and name as the list of prices has them: to litellm a bare name is one of OpenAI."""
    model = spec.model.removeprefix(f"{LITELLM}/")
    provider, slash, name = model.partition("/")
    return (provider, name) if slash else ("openai", model)


def bill_of(spec: ModelSpec, price: Price | None, request: Any, response: Any) -> Usage:
    """What one answer is billed: its tokens, the thinking and cached ones among them, and dollars.

    Dollars are None where price or usage is unknown. The price of the operator is that of every token; by the
    list of DSPy, cached and reasoning tokens have their own.
    """
    used = billed(spec, response)
    if used is None:
        return Usage(response.usage.input_tokens, response.usage.output_tokens, None)
    if price is None:
        return Usage(used.input, used.output, None)
    if spec.price is None and not spec.offline:
        return Usage(used.input, used.output, _by_list(spec, used, request, response))
    return Usage(used.input, used.output, float(used.input * price.input + used.output * price.output))


# What DSPy's `estimate_cost` takes a provider's counters to leave out.
_LISTED_CACHE_BESIDE = frozenset(
    {"anthropic", "meta-anthropic", "deepseek-anthropic", "moonshotai-anthropic"}
)
_LISTED_REASONING_BESIDE = frozenset({"gemini", "vertex", "vertex-express", "xai"})
# Names that vendors give the tier without a price of its own; DSPy knows them in one spelling each.
_USUAL_TIERS = frozenset({"on_demand", "auto", "default", "standard"})


def _by_list(spec: ModelSpec, used: Billed, request: Any, response: Any) -> float | None:
    """Dollars by the prices that ship with DSPy; None where they do not cover the answer."""
    from dspy.clients.costs import estimate_cost

    provider, name = _listed(spec)
    usage = response.usage
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    reasoning = usage.reasoning_tokens or 0
    counted = replace(
        usage,
        input_tokens=used.input - cached if provider in _LISTED_CACHE_BESIDE else used.input,
        output_tokens=used.output - reasoning if provider in _LISTED_REASONING_BESIDE else used.output,
    )
    dollars, _ = estimate_cost(
        replace(response, usage=counted, provider_data=_tier_as_known(response.provider_data)),
        provider=provider,
        requested_model=name,
        request=_tier_left_out(request),
    )
    return None if dollars is None else float(dollars)


def _tier_as_known(said: Any) -> Any:
    """What a provider said, the usual tier by the name that DSPy has for it."""
    if not isinstance(said, dict):
        return said
    counters = said.get("usageMetadata")
    tier = said.get("service_tier") or (counters.get("serviceTier") if isinstance(counters, dict) else None)
    return {**said, "service_tier": "default"} if _usual(tier) else said


def _tier_left_out(request: Any) -> Any:
    """A request without a tier where it asks for the usual one."""
    if request is None or not _usual(request.config.service_tier):
        return request
    return replace(request, config=replace(request.config, service_tier=None))


def _usual(tier: object) -> bool:
    return isinstance(tier, str) and tier.lower() in _USUAL_TIERS


def worst_case(
    spec: ModelSpec, price: Price | None, request_bytes: int, max_tokens: int | None = None
) -> Worst:
    """The most a call can use: a token for every byte sent, and the longest answer allowed.

    No tokenizer in use makes more tokens than bytes. Without `max_tokens` the answer has no bound and only
    the input is counted; a cap on dollars or tokens therefore asks for `max_tokens` first. A request's own
    `max_tokens` counts before the model's.
    """
    longest = 0 if spec.is_command else max_tokens or spec.max_tokens or 0  # a command is told no length
    tokens = request_bytes + longest
    bounded = bool(longest) or spec.offline  # its answers are shorter than its prompts
    if price is None or (price.output > 0 and not bounded):
        return Worst(tokens, None, bounded)  # a bound without the longest answer would be a claim
    return Worst(tokens, request_bytes * price.input + longest * price.output, bounded)
