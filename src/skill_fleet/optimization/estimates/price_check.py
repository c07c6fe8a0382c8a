"""What a run was estimated to take, beside what it took."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

_DIGITS = {"calls": 0, "tokens": 0, "usd": 4, "minutes": 2}  # those of the estimate
_BY_PHASE = ("calls", "tokens", "usd")
_Took = tuple[float | None, tuple[float, float] | None]
"""What is known, and the ends of that."""


@dataclass(frozen=True)
class PriceCheck:
    """One measure of a run's price.

    Attributes:
        measure: `calls`, `tokens`, `usd` or `minutes`.
        expected: Lowest and highest estimate; None where there was none.
        actual: What it took; None where that is unknown.
        ends: The least and the most that it can have taken, where that is all that is known; infinite where
            it may have been any more. None where nothing is known, too.
        outside: On which side of the estimate it lies; None where it is inside or cannot be told.
        spared: Whether it lies below only because answers that were paid for before the run stood in for
            calls of it, each taken to be as dear as those it made.
    """

    measure: str
    expected: tuple[float, float] | None
    actual: float | None
    outside: Literal["above", "below"] | None
    spared: bool = False
    ends: tuple[float, float] | None = None

    @property
    def took(self) -> tuple[float, ...] | None:
        """What it took, or the ends of that; None where nothing is known."""
        return self.ends if self.actual is None else (self.actual,)

    @property
    def remark(self) -> str:
        """Where it lies, in words, and why; empty where there is nothing to say."""
        if self.outside is None:
            return ""
        why = ": answers paid earlier" if self.spared else ""
        return f"{self.outside} the estimate{why}"


def price_checks(result: Mapping[str, Any]) -> list[PriceCheck]:
    """The four measures of a result, over all processes of its run; none where nothing was estimated.

    A run that was stopped took less than a whole one, so it is never said to lie below.
    """
    estimate = result["estimate"]
    if estimate is None:
        return []
    tokens = sum(result["tokens"].values())
    took: dict[str, _Took] = {
        "calls": _exactly(result["calls"].get("made")),
        "tokens": _between(tokens, result.get("tokens_range")),
        "usd": _between(result["usd"], result.get("usd_range")),
        "minutes": _exactly(result["seconds"] / 60),
    }
    whole, calls = _whole(result), result["calls"]
    checks = [_check(measure, estimate[measure], took[measure], whole=whole) for measure in _DIGITS]
    return [replace(check, spared=_spared(check, calls["made"], calls.get("reused", 0))) for check in checks]


def phase_checks(result: Mapping[str, Any]) -> dict[str, list[PriceCheck]]:
    """Calls, tokens and dollars of a result by phase, in the order of the estimate.

    None where nothing was estimated by phase, or where the run did not count so: both are so in results of
    older versions. A phase that nobody estimated is estimated at nothing.
    """
    estimated = (result["estimate"] or {}).get("by_phase", {})
    counted = result.get("by_phase")
    if not counted or any("tokens" not in line for line in estimated.values()):
        return {}
    nothing = dict.fromkeys(_BY_PHASE, (0, 0))
    unused = dict.fromkeys(_BY_PHASE, 0)
    return {
        phase: [
            _check(
                measure,
                estimated.get(phase, nothing)[measure],
                _of_phase(counted.get(phase, unused), measure),
                whole=_whole(result),
            )
            for measure in _BY_PHASE
        ]
        for phase in dict.fromkeys([*estimated, *counted])
    }


def _of_phase(spent: Mapping[str, Any], measure: str) -> _Took:
    if measure == "tokens" and spent.get("tokens_unknown_calls"):
        return _between(None, (spent["tokens"], None))
    return _exactly(spent[measure])


def _exactly(value: float | None) -> _Took:
    return (None, None) if value is None else (value, (value, value))


def _between(known: float | None, ends: Sequence[float | None] | None) -> _Took:
    """What is known, or the ends of that; results of older versions have none."""
    low, high = ends or (None, None)
    if low is None or low == high:
        return _exactly(known)
    if high is None:
        return None, ((low, math.inf) if low else None)
    return None, (low, high)


def _spared(check: PriceCheck, made: int, reused: int) -> bool:
    if check.outside != "below" or check.expected is None or check.actual is None or not reused:
        return False
    return made == 0 or check.actual * (made + reused) / made >= check.expected[0]


def _whole(result: Mapping[str, Any]) -> bool:
    return bool(result["status"] == "succeeded")


def _check(
    measure: str,
    expected: Sequence[float] | None,
    took: _Took,
    *,
    whole: bool,
) -> PriceCheck:
    outside: Literal["above", "below"] | None = None
    actual, ends = took
    if expected is not None and ends is not None:
        low, high = (end if end == math.inf else round(end, _DIGITS[measure]) for end in ends)
        if low > expected[1]:
            outside = "above"
        elif high < expected[0] and whole:
            outside = "below"
    known = None if expected is None else (expected[0], expected[1])
    return PriceCheck(measure, known, actual, outside, ends=ends if actual is None else None)
