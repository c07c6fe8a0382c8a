"""How many tokens an answer is billed for, whatever its provider's counters leave out.

DSPy hands on the counters as a provider sends them (the docstring of its `Usage`): `input_tokens` leaves
cached tokens out with Anthropic and nowhere else, `output_tokens` leaves the thinking out with Gemini and
xAI. Both are billed. One table says which; ledger, caps, limits and prices of one's own count by it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.providers.routes import LITELLM, has_own_address

if TYPE_CHECKING:
    from dspy.lm15 import Response, Usage

Where = Literal["inside", "beside", "unknown"]
"""Whether a counter holds those tokens already; `unknown` is where its provider does not document it."""


@dataclass(frozen=True)
class Rule:
    """What the counters of a provider hold.

    Attributes:
        cached: Tokens read from a prompt cache and written to it, of the input.
        reasoning: Tokens of the thinking, of the output.
    """

    cached: Where
    reasoning: Where


_OPENAI = Rule("inside", "inside")
_UNKNOWN = Rule("unknown", "unknown")
_RULES: dict[str, Rule] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "groq": _OPENAI,
    "openrouter": _OPENAI,
    "deepseek": _OPENAI,
    "anthropic": Rule("beside", "inside"),
    "gemini": Rule("inside", "beside"),
    "xai": Rule("inside", "beside"),
    LITELLM: _OPENAI,  # it rewrites all counters so
}


@dataclass(frozen=True)
class Billed:
    """Tokens of one answer.

    Attributes:
        input: All of the prompt, cached ones among them.
        output: All that was generated, the thinking among it.
    """

    input: int
    output: int


def documented(provider: str) -> Rule:
    """What the counters of a provider hold at its own address."""
    return _RULES.get(provider, _UNKNOWN)


def rule_of(spec: ModelSpec) -> Rule:
    """What the counters of a model hold: as its provider documents it, which a server elsewhere need not do.

    The wires of Anthropic, Gemini and xAI are taken at their word at any address: the rule is the larger one.
    """
    rule = documented(spec.provider)
    return _UNKNOWN if rule is _OPENAI and not has_own_address(spec) else rule


def billed(spec: ModelSpec, response: "Response") -> Billed | None:
    """The tokens that an answer is billed for; None where the provider told no input or no output."""
    return counted(rule_of(spec), response.usage, said=_total_said(response))


def counted(rule: Rule, usage: "Usage", *, said: bool = True) -> Billed | None:
    """The tokens that counters stand for; None where there is none for the input, or for the output.

    Never less than the counters together, nor than the provider's own total. Where no rule is known, that
    total decides whether the details stand inside; without one, they are counted on top: the larger reading.

    Args:
        rule: What the counters hold.
        usage: The counters.
        said: Whether the total is the provider's own, rather than added up by DSPy.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    inputs = _with(usage.input_tokens, cached, rule.cached, said=said)
    outputs = _with(usage.output_tokens, usage.reasoning_tokens or 0, rule.reasoning, said=said)
    return Billed(inputs, max(outputs, (usage.total_tokens or 0) - inputs))


def _with(counter: int, detail: int, where: Where, *, said: bool) -> int:
    """A counter with the tokens it may leave out; what is more than it cannot stand inside."""
    beside = where == "beside" or (where == "unknown" and not said) or detail > counter
    return counter + detail if beside else counter


def _total_said(response: "Response") -> bool:
    """Whether an answer on OpenAI's wire has a total of its provider's; any other is DSPy's own sum."""
    counters = (response.provider_data or {}).get("usage")
    return isinstance(counters, dict) and counters.get("total_tokens") is not None
