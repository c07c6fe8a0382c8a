"""What a call costs, offline: the operator's price, else the snapshot that ships with DSPy, else unknown."""

from dataclasses import dataclass
from typing import Any

from skill_fleet.config.load import environment
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.budget import Worst
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


def cost_of(spec: ModelSpec, price: Price | None, request: Any, response: Any) -> float | None:
    """Dollars for one answer, or None where price or usage is unknown.

    Cached and reasoning tokens are priced by DSPy's own rules where its snapshot is used.
    """
    usage = response.usage
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    if spec.price is None and not spec.offline:
        from dspy.clients.costs import estimate_cost

        provider, name = _listed(spec)
        dollars, _ = estimate_cost(response, provider=provider, requested_model=name, request=request)
        return None if dollars is None else float(dollars)
    return float(usage.input_tokens * price.input + usage.output_tokens * price.output)


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
