"""What an answer takes: model calls and tokens, whether they were paid for now or answered from the journal.

DSPy tells its `usage_tracker` of every call a program makes, in whatever thread. The journal keeps the usage
with the answer, so a replayed answer counts what it cost when it was paid for.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from skill_fleet.llm.billed import counted, documented


@dataclass(frozen=True)
class Tokens:
    """Tokens of some calls to one model; None where a call did not say, which is not zero."""

    input: int | None
    output: int | None


@dataclass(frozen=True)
class AnswerUsage:
    """What one answer took.

    Attributes:
        calls: Model calls, as the program makes them: several completions of one call count as one.
        tokens: By model string.
    """

    calls: int
    tokens: Mapping[str, Tokens]


class UsageMeter:
    """What DSPy's `usage_tracker` setting is told; one for each answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[str, int | None, int | None]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # DSPy copies the tracker for the threads of `dspy.Parallel`; their calls belong to the same answer.
        return self

    def add_usage(self, lm: str, usage_entry: Mapping[str, Any]) -> None:
        """One call is over."""
        used = _billed(lm, usage_entry)
        with self._lock:
            self._entries.append((lm, used.input, used.output))

    def taken(self) -> AnswerUsage:
        """What was used so far."""
        with self._lock:
            entries = list(self._entries)
        by_model: defaultdict[str, list[tuple[int | None, int | None]]] = defaultdict(list)
        for model, used, made in entries:
            by_model[model].append((used, made))
        tokens = {
            model: Tokens(_sum(used for used, _ in calls), _sum(made for _, made in calls))
            for model, calls in sorted(by_model.items())
        }
        return AnswerUsage(len(entries), tokens)


def _billed(lm: str, entry: Mapping[str, Any]) -> Tokens:
    """The tokens of a call as they are billed: DSPy tells the counters of a provider as it sent them."""
    from dspy.lm15 import Usage

    prompt, answer = (entry.get(f"{part}_tokens_details") or {} for part in ("prompt", "completion"))
    usage = Usage(
        input_tokens=entry.get("prompt_tokens"),
        output_tokens=entry.get("completion_tokens"),
        total_tokens=entry.get("total_tokens"),
        cache_read_tokens=prompt.get("cached_tokens"),
        cache_write_tokens=prompt.get("cache_creation_tokens"),
        reasoning_tokens=answer.get("reasoning_tokens"),
    )
    used = counted(documented(lm.partition("/")[0]), usage)
    if used is None:
        return Tokens(usage.input_tokens, usage.output_tokens)
    return Tokens(used.input, used.output)


@dataclass(frozen=True)
class CostPerAnswer:
    """Means over the answers of a measurement.

    Attributes:
        calls: Model calls.
        tokens: Input and output tokens together; None where a call did not say.
        usd: Dollars at the price of a token, no discount for cached prompts; None where a price is unknown.
    """

    calls: float
    tokens: float | None
    usd: float | None

    def to_json(self) -> dict[str, float | None]:
        """The values by their names, rounded to what means something."""
        return {
            "calls": round(self.calls, 3),
            "tokens": None if self.tokens is None else round(self.tokens, 1),
            "usd": None if self.usd is None else round(self.usd, 8),
        }


def cost_per_answer(
    usages: Iterable[AnswerUsage], prices: Mapping[str, tuple[float, float] | None]
) -> CostPerAnswer | None:
    """What an answer takes on average; None without answers.

    Args:
        usages: One an answer.
        prices: Model string -> dollars per input and per output token; None, or no entry, is unknown.
    """
    answers = list(usages)
    if not answers:
        return None
    spent = [pair for one in answers for pair in one.tokens.items()]
    counts = [None if t.input is None or t.output is None else t.input + t.output for _, t in spent]
    dollars = [_dollars(used, prices.get(model)) for model, used in spent]
    return CostPerAnswer(
        calls=sum(one.calls for one in answers) / len(answers),
        tokens=_mean(counts, len(answers)),
        usd=_mean(dollars, len(answers)),
    )


def _dollars(used: Tokens, price: tuple[float, float] | None) -> float | None:
    if price is None or used.input is None or used.output is None:
        return None
    return used.input * price[0] + used.output * price[1]


def _sum(counts: Iterable[int | None]) -> int | None:
    known = list(counts)
    return None if None in known else sum(count for count in known if count is not None)


def _mean(values: Iterable[float | None], number: int) -> float | None:
    known = list(values)
    return None if None in known else math.fsum(value for value in known if value is not None) / number
