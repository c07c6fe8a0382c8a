"""What a run has spent, added up from its ledger lines; the same for every store of them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Usage:
    """What one answer cost. None is unknown, which is not zero."""

    input_tokens: int | None
    output_tokens: int | None
    usd: float | None


@dataclass(frozen=True)
class PhaseSpent:
    """What the calls of one phase have spent.

    Attributes:
        calls: Attempts made.
        tokens: Known tokens, input and output together.
        usd: Dollars; None where an attempt may have cost something nobody knows.
    """

    calls: int
    tokens: int
    usd: float | None


@dataclass(frozen=True)
class Spent:
    """What a run has spent so far, every attempt counted, also those whose outcome is not known.

    Attributes:
        calls: Attempts made.
        settled: Attempts that ended with a stored answer.
        failed: Attempts that ended without one.
        lost: Attempts whose process died before the answer was stored: counted as spent.
        input_tokens: Known input tokens.
        output_tokens: Known output tokens.
        usd: Known dollars.
        usd_unknown_calls: Attempts that may have cost something nobody knows; one that could cost nothing at
            most has cost nothing.
        by_phase: Attempts by phase.
        by_model: Attempts by model.
        bound_tokens: What counts against a cap on tokens: tokens used where known, else the worst case that
            was reserved for the attempt. A resumed run's account starts here.
        bound_usd: The same in dollars.
        phases: Calls, tokens and dollars by phase.
        usd_open_calls: Those of `usd_unknown_calls` that nobody has closed: under way, while their process
            lives.
    """

    calls: int
    settled: int
    failed: int
    lost: int
    input_tokens: int
    output_tokens: int
    usd: float
    usd_unknown_calls: int
    by_phase: dict[str, int]
    by_model: dict[str, int]
    bound_tokens: int = 0
    bound_usd: float = 0.0
    phases: Mapping[str, PhaseSpent] = field(default_factory=dict)
    usd_open_calls: int = 0

    @property
    def usd_unknown_for_good(self) -> int:
        """`usd_unknown_calls` of a run that is going on: what is under way may still be known."""
        return self.usd_unknown_calls - self.usd_open_calls


def added_up(rows: Sequence[Sequence[Any]]) -> Spent:
    """What groups of ledger lines come to.

    Args:
        rows: One for each group: state, phase, model, whether its attempts cost nothing for sure (they never
            reached a provider, or were turned away at its door), how many they are, sums of the known input
            tokens, output tokens and dollars, how many have unknown dollars and no bound of zero, and
            sums of the tokens and the dollars that count against a cap.
    """
    by_state: Counter[str] = Counter()
    by_phase: Counter[str] = Counter()
    by_model: Counter[str] = Counter()
    for state, phase, model, _, count, *_ in rows:
        by_state[state] += count
        by_phase[phase] += count
        by_model[model] += count
    charged = [row for row in rows if not row[3]]
    return Spent(
        calls=by_state.total(),
        settled=by_state["settled"],
        failed=by_state["failed"],
        lost=by_state["lost"] + by_state["open"],
        input_tokens=sum(row[5] or 0 for row in rows),
        output_tokens=sum(row[6] or 0 for row in rows),
        usd=sum(row[7] or 0.0 for row in rows),
        usd_unknown_calls=sum(row[8] for row in charged),
        usd_open_calls=sum(row[8] for row in charged if row[0] == "open"),
        by_phase=dict(sorted(by_phase.items())),
        by_model=dict(sorted(by_model.items())),
        bound_tokens=sum(row[9] or 0 for row in charged),
        bound_usd=sum(row[10] or 0.0 for row in charged),
        phases={phase: _of_phase([row for row in rows if row[1] == phase]) for phase in sorted(by_phase)},
    )


def _of_phase(rows: Sequence[Sequence[Any]]) -> PhaseSpent:
    unknown = any(row[8] for row in rows if not row[3])
    return PhaseSpent(
        calls=sum(row[4] for row in rows),
        tokens=sum((row[5] or 0) + (row[6] or 0) for row in rows),
        usd=None if unknown else math.fsum(row[7] or 0.0 for row in rows),
    )
