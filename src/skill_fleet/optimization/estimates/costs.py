"""What some calls of a run cost, in every measure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from skill_fleet.config.settings import Phase
from skill_fleet.optimization.interval import NOTHING, Interval, total


@dataclass(frozen=True)
class Cost:
    """Some calls of one phase, or of several.

    Attributes:
        calls: How many.
        tokens: Both ways.
        usd: None where the price is unknown.
        seconds: What they add to the run.
    """

    calls: Interval
    tokens: Interval
    usd: Interval | None
    seconds: Interval

    def along(self, other: "Cost") -> "Cost":
        """Both, where what makes one dear makes the other dear: their ends add."""
        return Cost(
            self.calls.along(other.calls),
            self.tokens.along(other.tokens),
            None if self.usd is None or other.usd is None else self.usd.along(other.usd),
            self.seconds.along(other.seconds),
        )

    def until(self, other: "Cost") -> "Cost":
        """From the least of this to the most of the other."""
        return Cost(
            self.calls.until(other.calls),
            self.tokens.until(other.tokens),
            None if self.usd is None or other.usd is None else self.usd.until(other.usd),
            self.seconds.until(other.seconds),
        )


Costs = Mapping[Phase, Cost]
FREE = Cost(NOTHING, NOTHING, NOTHING, NOTHING)


def sum_of(costs: Iterable[Cost]) -> Cost:
    """All together, where each varies by itself."""
    found = list(costs)
    dollars = [cost.usd for cost in found if cost.usd is not None]
    return Cost(
        total(cost.calls for cost in found),
        total(cost.tokens for cost in found),
        total(dollars) if len(dollars) == len(found) else None,
        total(cost.seconds for cost in found),
    )
