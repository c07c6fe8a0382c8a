"""A bill: what is known to have been paid, and between which bounds the provider's own sum must lie.

*Settled* is what answers cost whose provider said what they used, kept or not. To it comes, at most, what
was reserved for every attempt of which that is not known: a time-out after sending, an answer that could not
be read, a process that died, an answer without usage. What was turned away at the door adds nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from skill_fleet.llm.journal.spent import Spent

N = TypeVar("N", int, float)


def bill(spent: Spent) -> dict[str, Any]:
    """The bill as JSON.

    Returns:
        `tokens` (known ones, `input` and `output`), `tokens_range` (both together, lowest and highest; the
        highest is None where it has no bound), `usd` (None where the cost of an attempt is unknown),
        `usd_range` (as of tokens) and `usd_unknown_calls`.
    """
    known = spent.input_tokens + spent.output_tokens
    usd = None if spent.usd_unknown_calls else spent.usd
    return {
        "tokens": {"input": spent.input_tokens, "output": spent.output_tokens},
        "tokens_range": [known, _at_least(known, spent.most_tokens)],
        "usd": usd,
        "usd_range": usd_range(spent.usd, spent.usd_unknown_calls, spent.most_usd),
        "usd_unknown_calls": spent.usd_unknown_calls,
    }


def usd_range(usd: float, unknown: int, most: float | None) -> list[float | None]:
    """Lowest and highest dollars; the highest is None where it has no bound.

    Args:
        usd: Known dollars.
        unknown: Attempts whose cost is not known.
        most: With what these can have cost at most; None where one has no bound.
    """
    return [usd, _at_least(usd, most) if unknown else usd]


def tokens_used(value: Mapping[str, Any], count: Callable[[float], str]) -> str:
    """The tokens of a bill: `500 tokens`, `500 to 900 tokens`, `at least 500 tokens`, `unknown tokens`.

    Args:
        value: A result with a bill; of one written before there were ranges what is known is told.
        count: How a number is written.
    """
    known = sum(value["tokens"].values())
    least, most = value.get("tokens_range") or (known, known)
    return f"{_range(least, most, count)} tokens"


def paid(value: Mapping[str, Any], dollars: Callable[[float], str], *more: str) -> str:
    """What was paid, in words: `$0.12`, `$0.12 to $0.15 (3 calls may have been billed without an answer)`.

    Args:
        value: A result with a bill; one written before there were ranges says less.
        dollars: How a sum is written.
        more: What else is to stand in the brackets.
    """
    known = value["usd"]
    amount, why = (
        (dollars(known), []) if known is not None else (_between(value, dollars), _why(value["calls"]))
    )
    notes = "; ".join(filter(None, (", ".join(why), *more)))
    return f"{amount} ({notes})" if notes else amount


def _between(value: Mapping[str, Any], dollars: Callable[[float], str]) -> str:
    least, most = value.get("usd_range") or (0.0, None)
    return _range(least, most, dollars)


def _range(least: float, most: float | None, show: Callable[[float], str]) -> str:
    if most is None:
        return f"at least {show(least)}" if least else "unknown"
    low, high = show(least), show(most)
    return low if low == high else f"{low} to {high}"


def _why(calls: Mapping[str, Any]) -> list[str]:
    counted = (
        (calls.get("possibly_billed", 0), "may have been billed without an answer"),
        (calls.get("without_usage", 0), "answered without usage"),
    )
    return [f"{number:,} {'call' if number == 1 else 'calls'} {how}" for number, how in counted if number]


def _at_least(least: N, most: N | None) -> N | None:
    # Sums of floating point in another order may differ in the last digit.
    return None if most is None else max(least, most)
