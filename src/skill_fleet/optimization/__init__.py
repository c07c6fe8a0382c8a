"""Making a program better: DSPy's optimizers behind one door, with journal, budget and honest verdicts.

The names below are for people's own code; they are imported when they are first used, because DSPy is heavy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skill_fleet.core.dspy.sampling import BestOfN as BestOfN
    from skill_fleet.optimization.cost import estimate_cost as estimate_cost
    from skill_fleet.optimization.facade import GEPA as GEPA
    from skill_fleet.optimization.facade import (
        BootstrapFewShotWithRandomSearch as BootstrapFewShotWithRandomSearch,
    )
    from skill_fleet.optimization.facade import Evaluate as Evaluate
    from skill_fleet.optimization.facade import MIPROv2 as MIPROv2

_HOMES = {
    "GEPA": "skill_fleet.optimization.facade",
    "BestOfN": "skill_fleet.core.dspy.sampling",
    "BootstrapFewShotWithRandomSearch": "skill_fleet.optimization.facade",
    "Evaluate": "skill_fleet.optimization.facade",
    "MIPROv2": "skill_fleet.optimization.facade",
    "estimate_cost": "skill_fleet.optimization.cost",
}

__all__ = ["GEPA", "BestOfN", "BootstrapFewShotWithRandomSearch", "Evaluate", "MIPROv2", "estimate_cost"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
