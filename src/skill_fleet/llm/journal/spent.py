"""What a run has spent, added up from its ledger lines; the same for every store of them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


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
        tokens_unknown_calls: Attempts that may have used tokens nobody knows.
    """

    calls: int
    tokens: int
    usd: float | None
    tokens_unknown_calls: int = 0


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
        possibly_billed: Attempts without an answer or usage that the provider may have billed: what failed
            after it was sent, what was lost, and what is under way.
        open: Those of `possibly_billed` that nobody has closed.
        without_usage: Attempts with a stored answer whose provider did not say what they used.
        most_tokens: Tokens used where known, and the most that every other attempt can have used; None where
            one has no bound.
        most_usd: The same in dollars.
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
    possibly_billed: int = 0
    open: int = 0
    without_usage: int = 0
    most_tokens: int | None = None
    most_usd: float | None = None

    @property
    def usd_unknown_for_good(self) -> int:
        """`usd_unknown_calls` of a run that is going on: what is under way may still be known."""
        return self.usd_unknown_calls - self.usd_open_calls


class Group(NamedTuple):
    """Ledger lines that have state, phase, model and `free` in common, added up; sums of nothing are None.

    Attributes:
        free: Whether they cost nothing for sure: they never reached a provider, or were turned away.
        unknown_usd: How many have unknown dollars and no bound of zero.
        bound_tokens: Tokens that count against a cap: used where known, else reserved.
        bound_usd: The same in dollars.
        without_usage: How many have unknown tokens.
        boundless_tokens: How many have unknown tokens and nothing reserved: an answer of any length.
        boundless_usd: The same in dollars.
    """

    state: str
    phase: str
    model: str
    free: bool
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    usd: float | None
    unknown_usd: int
    bound_tokens: int | None
    bound_usd: float | None
    without_usage: int
    boundless_tokens: int
    boundless_usd: int


def added_up(rows: Sequence[Sequence[Any]]) -> Spent:
    """What groups of ledger lines come to.

    Args:
        rows: The fields of one `Group` each.
    """
    groups = [Group(*row) for row in rows]
    by_state = _counted(groups, "state")
    by_phase = _counted(groups, "phase")
    charged = [group for group in groups if not group.free]
    unanswered = [group for group in charged if group.state != "settled"]
    bound_tokens = sum(group.bound_tokens or 0 for group in charged)
    bound_usd = sum(group.bound_usd or 0.0 for group in charged)
    return Spent(
        calls=by_state.total(),
        settled=by_state["settled"],
        failed=by_state["failed"],
        lost=by_state["lost"] + by_state["open"],
        input_tokens=sum(group.input_tokens or 0 for group in groups),
        output_tokens=sum(group.output_tokens or 0 for group in groups),
        usd=sum(group.usd or 0.0 for group in groups),
        usd_unknown_calls=sum(group.unknown_usd for group in charged),
        usd_open_calls=sum(group.unknown_usd for group in charged if group.state == "open"),
        by_phase=dict(sorted(by_phase.items())),
        by_model=dict(sorted(_counted(groups, "model").items())),
        bound_tokens=bound_tokens,
        bound_usd=bound_usd,
        phases={
            phase: _of_phase([one for one in groups if one.phase == phase]) for phase in sorted(by_phase)
        },
        possibly_billed=sum(group.without_usage for group in unanswered),
        open=by_state["open"],
        without_usage=sum(group.without_usage for group in groups if group.state == "settled"),
        most_tokens=None if any(group.boundless_tokens for group in charged) else bound_tokens,
        most_usd=None if any(group.boundless_usd for group in charged) else bound_usd,
    )


def _counted(groups: Sequence[Group], name: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for group in groups:
        counted[getattr(group, name)] += group.calls
    return counted


def _of_phase(groups: Sequence[Group]) -> PhaseSpent:
    unknown = any(group.unknown_usd for group in groups if not group.free)
    return PhaseSpent(
        calls=sum(group.calls for group in groups),
        tokens=sum((group.input_tokens or 0) + (group.output_tokens or 0) for group in groups),
        usd=None if unknown else math.fsum(group.usd or 0.0 for group in groups),
        tokens_unknown_calls=sum(group.without_usage for group in groups if not group.free),
    )
