"""To what caps must be raised for a run that met one to come to its end."""

import math
from collections.abc import Mapping
from typing import Any

from skill_fleet.llm.budget import Limits

_MORE = 1.5


def raised_caps(limits: Limits, result: Mapping[str, Any]) -> Limits:
    """Caps that do: what is spent and the upper end of the estimate for the whole run, rounded up.

    Args:
        limits: The caps the run had.
        result: The JSON result of the run.

    Returns:
        Only the caps that have to be raised; all that there were where none of them looks too small, for one
        of them was.
    """
    spent = {
        "usd": result["usd"],
        "calls": result["calls"]["made"],
        "tokens": sum(result["tokens"].values()),
        "minutes": result["seconds"] / 60,
    }
    caps = {name: cap for name in spent if (cap := getattr(limits, name)) is not None}
    enough = {name: _enough(spent[name], (result["estimate"] or {}).get(name)) for name in caps}
    short = [name for name, cap in caps.items() if enough[name] > cap] or list(caps)
    values = {name: _rounded_up(max(enough[name], _MORE * caps[name], 1e-4)) for name in short}
    calls, tokens = (math.ceil(values[name]) if name in values else None for name in ("calls", "tokens"))
    return Limits(values.get("usd"), calls, tokens, values.get("minutes"))


def _enough(spent: float | None, estimate: tuple[float, float] | None) -> float:
    return (spent or 0.0) + (0.0 if estimate is None else estimate[1])


def _rounded_up(value: float) -> float:
    """To two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.6g}")
