"""The composition root: what a use case may touch, built once from the settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skill_fleet.config.load import Loaded, load
from skill_fleet.config.paths import Workspace
from skill_fleet.config.settings import Settings
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.llm.journal.store import Held

if TYPE_CHECKING:
    from skill_fleet.llm.models import InnerFactory


@dataclass(frozen=True)
class Context:
    """What a use case may touch.

    Attributes:
        loaded: Settings, their origins, the workspace and the environment.
        clock: Time.
        models: What answers for a model; None is the offline model or its provider.
        lease: The right to a job of the service, in the process that does it.
    """

    loaded: Loaded
    clock: Clock = SYSTEM_CLOCK
    models: "InnerFactory | None" = None
    lease: Held | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.loaded.settings

    @property
    def workspace(self) -> Workspace:
        """Where things live."""
        return self.loaded.workspace

    def path(self, name: str | Path) -> Path:
        """A file a user named: as it stands from the current directory, else from the workspace."""
        path = Path(name).expanduser()
        return path if path.is_absolute() or path.exists() else self.workspace.root / path


def open_context(
    workspace: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    models: "InnerFactory | None" = None,
) -> Context:
    """The context of a workspace.

    Args:
        workspace: Its directory; None reads the environment, else takes the current directory.
        flags: Dotted setting -> value of the command line; None values are not set.
        environ: The environment; None reads the process's.
        clock: Time.
        models: What answers for a model, where it is not the usual one.

    Raises:
        ConfigError: A configuration file or value is wrong.
    """
    return Context(load(workspace, flags=flags, environ=environ), clock, models)
