"""The optimizers there are: a value, not a side effect of imports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from skill_fleet import __version__
from skill_fleet.foundation.errors import UnknownName
from skill_fleet.optimization.optimizer import Optimizer, OptimizerInfo
from skill_fleet.optimization.optimizers.best_of_n import BestOfNAnswers
from skill_fleet.optimization.optimizers.better_together import BetterTogether
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
from skill_fleet.optimization.plugins import Plugin, PluginError, find_plugins

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
        BetterTogether,
        KnnFewShot,
        EnsembleOfDemos,
        BestOfNAnswers,
        RefinedAnswers,
    )
    return {kind().info.name: kind for kind in kinds}


@dataclass(frozen=True)
class Installed:
    """One optimizer as it is installed.

    Attributes:
        name: What it is chosen by.
        package: Where it comes from.
        version: Of the package.
        info: What it says of itself; None where it cannot be used.
        problem: Why it cannot be used, in one sentence; empty where it can.
    """

    name: str
    package: str
    version: str
    info: OptimizerInfo | None
    problem: str = ""


def installed_optimizers() -> tuple[Installed, ...]:
    """Every optimizer: the built-in ones, then those of other packages, also those that cannot be used."""
    own = tuple(
        Installed(name, "skill-fleet", __version__, kind().info)
        for name, kind in builtin_optimizers().items()
    )
    return (*own, *(_examined(plugin) for plugin in find_plugins()))


def find_optimizer(name: str, registry: OptimizerRegistry | None = None) -> Optimizer:
    """An optimizer by its name; of other packages only the one that is asked for is imported.

    Args:
        name: Of the optimizer.
        registry: The optimizers to choose from; None is the built-in ones and those of other packages.

    Raises:
        UnknownName: There is none of that name.
        PluginError: It is of another package and cannot be used.
    """
    known = builtin_optimizers() if registry is None else registry
    if name in known:
        return known[name]()
    plugins = find_plugins() if registry is None else ()
    for plugin in plugins:
        if plugin.name == name:
            _refuse_twins(plugin, plugins)
            return plugin.make()
    raise UnknownName("optimizer", name, [*known, *(plugin.name for plugin in plugins)])


def versions_of(name: str) -> dict[str, str]:
    """The package an optimizer comes from and its version, where it is not built in."""
    if name in builtin_optimizers():
        return {}
    return {plugin.package: plugin.version for plugin in find_plugins() if plugin.name == name}


def _examined(plugin: Plugin) -> Installed:
    whose = (plugin.name, plugin.package, plugin.version)
    if plugin.name in builtin_optimizers():
        what = f"The optimizer '{plugin.name}' of {plugin.package} {plugin.version}"
        return Installed(*whose, None, f"{what} is not used: a built-in one has that name.")
    try:
        _refuse_twins(plugin, find_plugins())
        return Installed(*whose, plugin.make().info)
    except PluginError as error:
        return Installed(*whose, None, error.message)


def _refuse_twins(plugin: Plugin, plugins: tuple[Plugin, ...]) -> None:
    """Two packages that offer one name: neither is taken, for nobody could know which."""
    packages = [f"{other.package} {other.version}" for other in plugins if other.name == plugin.name]
    if len(packages) > 1:
        raise PluginError(
            f"The optimizer '{plugin.name}' is offered by {' and by '.join(packages)}: neither is used.",
            hint="Uninstall all but one of them.",
        )
