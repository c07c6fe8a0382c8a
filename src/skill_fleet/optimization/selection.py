"""Choosing among the programs of a search, and what the choice does to the number that was chosen by.

The best of many programs on one validation set looks better than it is (the winner's curse): part of its
lead is the luck of having been picked. Nothing is subtracted here: the sealed test is the re-measurement on
untouched data, and the difference of the two gains is what the choice flattered.

At equal quality the cheaper program may be taken. Equal is not "not shown to differ": few examples show
nothing. So both are asked, a mean at most `MARGIN` below the best one's and no difference in a paired test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.evaluation.measurement import Measurement, paired
from skill_fleet.evaluation.pareto import pareto
from skill_fleet.evaluation.statistics import compare_paired
from skill_fleet.evaluation.usage import CostPerAnswer, cost_per_answer
from skill_fleet.llm.models import PhaseModels
from skill_fleet.llm.pricing import price_of

MARGIN = 0.02
ALPHA = 0.05
_SAME = 1e-9
_UNKNOWN = -1.0

Prices = Mapping[str, tuple[float, float] | None]


@dataclass(frozen=True)
class Candidate:
    """A program measured on the whole validation set.

    Attributes:
        program: Ready to run.
        hash: Of what optimization changes.
        round: The round that found it; 0 is the plain program.
        measured: On the validation set.
    """

    program: dspy.Module
    hash: str
    round: int
    measured: Measurement

    @property
    def quality(self) -> float | None:
        """Mean quality on the validation set; None where no example has a score."""
        return self.measured.mean

    def cost(self, prices: Prices) -> CostPerAnswer | None:
        """What one answer takes, on average over the validation set."""
        return cost_of(self.measured, prices)


def prices_of(models: PhaseModels) -> Prices:
    """Model string -> dollars per input and output token, None where unknown."""
    found = {spec.model: price_of(spec) for spec in models.specs.values()}
    return {model: None if price is None else (price.input, price.output) for model, price in found.items()}


def cost_of(found: Measurement, prices: Prices) -> CostPerAnswer | None:
    """What an answer took on average, over the examples that have a score; None where none has."""
    usages = [one.usage for one in found.outcomes if one.score is not None and one.usage is not None]
    return cost_per_answer(usages, prices)


def cheapest_of_equals(best: Candidate, candidates: Sequence[Candidate], prices: Prices) -> Candidate:
    """The cheapest program that is about as good as the best one and better than the plain one.

    By dollars where all are known, then tokens, then calls; of equally cheap ones the better.

    Args:
        best: The one with the highest quality.
        candidates: All, the plain program (round 0) among them.
        prices: As `prices_of` gives them.
    """
    plain = max((_known(one) for one in candidates if one.round == 0), default=_UNKNOWN)
    equals = [one for one in candidates if _known(one) > plain + _SAME and _about_as_good(best, one)]
    costs = {one.hash: one.cost(prices) for one in [best, *equals]}
    in_dollars = all(cost is not None and cost.usd is not None for cost in costs.values())

    def price(one: Candidate) -> tuple[float, float, float, float]:
        cost = costs[one.hash]
        if cost is None:
            return (math.inf,) * 3 + (-_known(one),)
        usd = cost.usd if in_dollars and cost.usd is not None else 0.0
        tokens = math.inf if cost.tokens is None else cost.tokens
        return (usd, tokens, cost.calls, -_known(one))

    return min([best, *equals], key=price)


def _known(one: Candidate) -> float:
    """The quality, to put programs into an order: an unknown one is below all that are known."""
    return _UNKNOWN if one.quality is None else one.quality


def _about_as_good(best: Candidate, other: Candidate) -> bool:
    if _known(best) - _known(other) > MARGIN + _SAME:
        return False
    a, b, groups = paired(best.measured, other.measured)
    return bool(a) and compare_paired(a, b, groups, alpha=ALPHA).verdict != "worse"


def points(candidates: Sequence[Candidate], chosen: str, prices: Prices) -> list[dict[str, Any]]:
    """Quality against cost, one entry a program, best first: the `pareto` of a result.

    A program of which no quality is known is the last, and not on the front.

    Args:
        candidates: All that were measured.
        chosen: Hash of the one that was chosen.
        prices: As `prices_of` gives them.
    """
    costs = [one.cost(prices) for one in candidates]
    in_dollars = all(cost is not None and cost.usd for cost in costs)
    spent = [None if cost is None else cost.usd if in_dollars else cost.tokens for cost in costs]
    front = pareto([(_known(one), price) for one, price in zip(candidates, spent, strict=True)])
    entries = [
        {
            "round": one.round,
            "program_hash": one.hash,
            "quality": one.quality,
            **_named(cost),
            "on_front": on_front and one.quality is not None,
            "chosen": one.hash == chosen,
        }
        for one, cost, on_front in zip(candidates, costs, front, strict=True)
    ]
    return sorted(entries, key=_rank)


def _rank(entry: Mapping[str, Any]) -> tuple[float, float]:
    quality, tokens = entry["quality"], entry["tokens_per_answer"]
    return math.inf if quality is None else -quality, math.inf if tokens is None else tokens


def _named(cost: CostPerAnswer | None) -> dict[str, float | None]:
    known = {"calls": None, "tokens": None, "usd": None} if cost is None else cost.to_json()
    return {f"{name}_per_answer": value for name, value in known.items()}


def gains(
    validation: Sequence[float | None], test: Sequence[float | None], candidates: int
) -> dict[str, Any] | None:
    """The gain on the set that was chosen by beside that on untouched examples: `selection` of a result.

    Args:
        validation: Means on the validation set: of the plain program, of the chosen one.
        test: The same on examples that nothing was chosen by.
        candidates: Distinct programs measured on the whole validation set, the plain one not counted.
    """
    seen, untouched = _gain(validation), _gain(test)
    if seen is None or not candidates:
        return None
    optimism = None if untouched is None else round(seen - untouched, 12)
    return {
        "validation_gain": seen,
        "test_gain": untouched,
        "optimism": optimism,
        "candidates": candidates,
    }


def _gain(means: Sequence[float | None]) -> float | None:
    before, after = means
    return None if before is None or after is None else round(after - before, 12)
