"""What a run was estimated to take, beside what it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_DIGITS = {"calls": 0, "tokens": 0, "usd": 4, "minutes": 2}  # those of the estimate


@dataclass(frozen=True)
class PriceCheck:
    """One measure of a run's price.

    Attributes:
        measure: `calls`, `tokens`, `usd` or `minutes`.
        expected: Lowest and highest estimate; None where there was none.
        actual: What it took; None where that is unknown.
        outside: On which side of the estimate it lies; None where it is inside or cannot be told.
    """

    measure: str
    expected: tuple[float, float] | None
    actual: float | None
    outside: Literal["above", "below"] | None


def price_checks(result: Mapping[str, Any]) -> list[PriceCheck]:
    """The four measures of a result; none where nothing was estimated.

    A run that was stopped took less than a whole one, so it is never said to lie below.
    """
    estimate = result["estimate"]
    if estimate is None:
        return []
    actual = {
        "calls": result["calls"].get("made"),
        "tokens": sum(result["tokens"].values()),
        "usd": result["usd"],
        "minutes": result["seconds"] / 60,
    }
    whole = result["status"] == "succeeded"
    return [_check(measure, estimate[measure], actual[measure], whole=whole) for measure in _DIGITS]


def _check(
    measure: str, expected: Sequence[float] | None, actual: float | None, *, whole: bool
) -> PriceCheck:
    outside: Literal["above", "below"] | None = None
    if expected is not None and actual is not None:
        rounded = round(actual, _DIGITS[measure])
        if rounded > expected[1]:
            outside = "above"
        elif rounded < expected[0] and whole:
            outside = "below"
    return PriceCheck(measure, None if expected is None else (expected[0], expected[1]), actual, outside)
