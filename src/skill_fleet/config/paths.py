"""Where things live in a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SHIPPED_TRAINSET = "training/trainset.json"


@dataclass(frozen=True)
class Workspace:
    """The directories and files of one workspace.

    Attributes:
        root: The workspace's directory.
        cache: Where responses are kept; `DSPY_CACHEDIR`, else `.skill-fleet/cache` in the workspace.
    """

    root: Path
    cache: Path

    @classmethod
    def at(cls, root: Path, environ: Mapping[str, str]) -> "Workspace":
        """The workspace of a directory."""
        root = root.expanduser().resolve()
        cache = environ.get("DSPY_CACHEDIR")
        return cls(root, Path(cache).expanduser().resolve() if cache else root / ".skill-fleet" / "cache")

    @property
    def config_file(self) -> Path:
        """The workspace's own configuration."""
        return self.root / "config" / "config.yaml"

    @property
    def trainset(self) -> Path:
        """The workspace's training set, or the shipped one where it has none."""
        own = self.root / "config" / "training" / "trainset.json"
        return own if own.exists() else shipped_trainset()

    @property
    def optimized(self) -> Path:
        """Where optimized programs are published."""
        return self.root / "config" / "optimized"

    @property
    def skills(self) -> Path:
        """The skill library."""
        return self.root / "skills"

    @property
    def state(self) -> Path:
        """Journal and runs; never committed."""
        return self.root / ".skill-fleet"

    @property
    def ledger(self) -> Path:
        """What was called and paid."""
        return self.state / "ledger.sqlite"

    @property
    def responses(self) -> Path:
        """The answers: the cache."""
        return self.cache / "responses.sqlite"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.state / "runs"

    @property
    def service(self) -> Path:
        """Jobs and queue of the embedded service."""
        return self.state / "service"

    def relative(self, path: Path) -> str:
        """A path for people: relative to the workspace where it lies inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def shipped_trainset() -> Path:
    """The training set that comes with the package; in a source checkout, the repository's own."""
    installed = _PACKAGE / _SHIPPED_TRAINSET
    return installed if installed.exists() else _PACKAGE.parents[2] / "config" / _SHIPPED_TRAINSET


def shipped_config() -> Path:
    """The complete default configuration."""
    return _PACKAGE / "default.yaml"
