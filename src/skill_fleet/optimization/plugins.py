"""Optimizers that other installed packages bring, by entry points of the group `skill_fleet.optimizers`.

```toml
[project.entry-points."skill_fleet.optimizers"]
hillclimb = "skill_fleet_hillclimb:Hillclimb"
```

The name is the optimizer's, the value a class or function that makes one without arguments. Names and
versions are read from the packages' metadata; a package is imported when its optimizer is asked for, and one
that is broken breaks nothing but itself. Its code runs with the rights of the user who installed it.
"""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from skill_fleet.foundation.errors import UsageError
from skill_fleet.optimization.optimizer import Optimizer, OptimizerInfo

GROUP = "skill_fleet.optimizers"


class PluginError(UsageError):
    """An optimizer of another package cannot be used."""

    code = "plugin"


@dataclass(frozen=True)
class Plugin:
    """An optimizer that a package offers; nothing of it has been imported.

    Attributes:
        name: Of the optimizer.
        package: That offers it.
        version: Of the package.
        point: What to import.
    """

    name: str
    package: str
    version: str
    point: EntryPoint

    def make(self) -> Optimizer:
        """The optimizer.

        Raises:
            PluginError: It cannot be imported or made, or is no optimizer of that name.
        """
        try:
            made = self.point.load()()
        except (Exception, SystemExit) as error:
            raise self._unusable(
                f"{self.point.value} fails: {type(error).__name__}: {' '.join(str(error).split())}"
            ) from error
        wrong = _misshapen(made, self.name)
        if wrong:
            raise self._unusable(wrong)
        return made

    def _unusable(self, why: str) -> PluginError:
        return PluginError(
            f"The optimizer '{self.name}' of {self.package} {self.version} is of no use: {why.rstrip('.')}.",
            hint=f"Repair, update or uninstall {self.package}; the other optimizers are not touched by it.",
        )


def find_plugins() -> tuple[Plugin, ...]:
    """What the installed packages offer, by name and package; nothing is imported."""
    found = []
    for point in entry_points(group=GROUP):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
        found.append(Plugin(point.name, package, version, point))
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.package)))


def _misshapen(made: Any, name: str) -> str:
    """What keeps an object from being the optimizer of that name; an empty text when nothing does."""
    info = getattr(made, "info", None)
    if not isinstance(info, OptimizerInfo):
        return f"{type(made).__name__} has no `info` of the type OptimizerInfo"
    for method in ("estimate_calls", "improve"):
        if not callable(getattr(made, method, None)):
            return f"{type(made).__name__} has no method `{method}`"
    if info.name != name:
        return f"it calls itself '{info.name}', its entry point '{name}'"
    return ""
