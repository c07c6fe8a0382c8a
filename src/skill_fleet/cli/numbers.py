"""Numbers as people read them; a dash where there is none, for unknown is not zero."""

import math
from collections.abc import Callable, Sequence

UNKNOWN = "–"


def score(value: float | None) -> str:
    """A quality in [0, 1]."""
    return UNKNOWN if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def dollars(value: float | None) -> str:
    """Dollars, to the cent or to four digits where there are no cents."""
    if value is None:
        return "unknown"
    if value == 0:
        return "$0"
    return f"${value:.2f}" if value >= 1 else f"${value:.4f}"


def cents(value: float | None) -> str:
    """Dollars of one answer, which are few."""
    return "unknown" if value is None else f"${value:.6f}"


def seconds(value: float) -> str:
    """A duration."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float) -> str:
    """A count with its thousands apart; in millions where there are many."""
    return f"{value:,.0f}" if value < 1_000_000 else f"{value / 1_000_000:,.1f} million"


def several(number: int, noun: str) -> str:
    """A number of things."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def size(value: float) -> str:
    """Bytes."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def between(values: Sequence[float] | None, show: Callable[[float], str] = count) -> str:
    """An interval; one number where both ends look the same, the lower end where there is no upper one."""
    if values is None:
        return "unknown"
    if values[-1] == math.inf:
        return f"at least {show(values[0])}"
    return " to ".join(dict.fromkeys(show(value) for value in values))
