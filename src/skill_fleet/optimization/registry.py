"""The optimizers there are: a value, not a side effect of imports."""

from collections.abc import Callable, Mapping

from skill_fleet.foundation.errors import UnknownName
from skill_fleet.optimization.optimizer import Optimizer
from skill_fleet.optimization.optimizers.best_of_n import BestOfNAnswers
from skill_fleet.optimization.optimizers.bootstrap import BootstrapRandomSearch
from skill_fleet.optimization.optimizers.copro import Copro
from skill_fleet.optimization.optimizers.ensemble import EnsembleOfDemos
from skill_fleet.optimization.optimizers.few_shot import BootstrapFewShot
from skill_fleet.optimization.optimizers.gepa import Gepa
from skill_fleet.optimization.optimizers.infer_rules import InferRules
from skill_fleet.optimization.optimizers.knn import KnnFewShot
from skill_fleet.optimization.optimizers.labeled import LabeledFewShot
from skill_fleet.optimization.optimizers.miprov2 import MiproV2
from skill_fleet.optimization.optimizers.refine import RefinedAnswers
from skill_fleet.optimization.optimizers.simba import Simba

OptimizerRegistry = Mapping[str, Callable[[], Optimizer]]


def builtin_optimizers() -> OptimizerRegistry:
    """The optimizers that come with skill-fleet, by name."""
    kinds: tuple[Callable[[], Optimizer], ...] = (
        Gepa,
        MiproV2,
        BootstrapRandomSearch,
        BootstrapFewShot,
        LabeledFewShot,
        Simba,
        Copro,
        InferRules,
        KnnFewShot,
        EnsembleOfDemos,
        BestOfNAnswers,
        RefinedAnswers,
    )
    return {kind().info.name: kind for kind in kinds}


def find_optimizer(name: str, registry: OptimizerRegistry | None = None) -> Optimizer:
    """An optimizer by its name.

    Raises:
        UnknownName: There is none of that name.
    """
    known = builtin_optimizers() if registry is None else registry
    if name not in known:
        raise UnknownName("optimizer", name, known)
    return known[name]()
