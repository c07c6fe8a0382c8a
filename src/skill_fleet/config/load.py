"""Settings put together: flag > environment > workspace file > user file > default, with each value's origin.

The only module that reads the environment.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from skill_fleet.config.paths import Workspace, shipped_config
from skill_fleet.config.settings import ModelSpec, Settings
from skill_fleet.foundation.errors import ConfigError
from skill_fleet.foundation.files import read_text
from skill_fleet.foundation.redaction import without_keys

_PREFIX = "SKILL_FLEET_"
_DEEPEST = 8
DATABASE_URL = "SKILL_FLEET_DATABASE_URL"
"""Names the service's database. It holds a password: never in a file, never shown."""
API_KEY = "SKILL_FLEET_API_KEY"
"""What a client shows a server."""
SERVER = "SKILL_FLEET_SERVER"
"""The server a client talks to."""
_RESERVED = frozenset(
    {"SKILL_FLEET_WORKSPACE", "SKILL_FLEET_LIVE", "SKILL_FLEET_DEBUG", DATABASE_URL, API_KEY, SERVER}
)
_PLAINLY = {"tuple_type": "it must be a list, for example [one, two]"}
"""What pydantic says in words of Python, in words of YAML."""
_DATABASES = ("postgresql://", "postgres://")

Flat = dict[tuple[str, ...], Any]


@dataclass(frozen=True)
class Loaded:
    """The settings in force.

    Attributes:
        settings: The values.
        origins: Dotted key -> where its value came from (`default`, a file, `environment NAME`, `flag`).
        workspace: Where things live.
        environ: The environment as read, for keys named by the settings.
        database: Address of the service's database, password and all; None is files in the workspace.
    """

    settings: Settings
    origins: Mapping[str, str]
    workspace: Workspace
    environ: Mapping[str, str] = field(repr=False)
    database: str | None = field(default=None, repr=False)


def environment() -> dict[str, str]:
    """The process environment, and prices read from the packaged snapshot instead of the network.

    DSPy fetches a price map on first use unless this variable is set; nothing here talks to anything but
    the configured provider.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"
    return dict(os.environ)


def load(
    workspace: Path | None = None,
    *,
    config_file: Path | None = None,
    config_text: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """The settings of a workspace.

    Args:
        workspace: Its directory; None reads `SKILL_FLEET_WORKSPACE`, else the current directory.
        config_file: Read instead of the workspace's own file; must exist.
        config_text: Taken for what that file, or the workspace's own, holds.
        flags: Dotted key -> value; None values are not set.
        environ: The environment; None reads the process's.

    Raises:
        ConfigError: A file or a value is wrong; the sentence names the key and where it was set.
        NotFound: `config_file` does not exist.
    """
    env = environment() if environ is None else environ
    root = workspace or Path(env.get("SKILL_FLEET_WORKSPACE") or Path.cwd())
    place = Workspace.at(root, env)
    if not (_there(place.root) and place.root.is_dir()):
        raise ConfigError(f"The workspace {place.root} is not a directory.")
    values: Flat = {}
    origins: dict[str, str] = {}
    for origin, layer in _layers(place, config_file, config_text, flags or {}, env):
        _overlay(values, origins, layer, origin)
    settings = _validated(values, origins)
    return Loaded(settings, dict(sorted(origins.items())), place, env, _database(env))


def _database(env: Mapping[str, str]) -> str | None:
    """The address as given; a wrong one is refused without being repeated."""
    url = env.get(DATABASE_URL, "").strip()
    if not url:
        return None
    if not url.startswith(_DATABASES):
        raise ConfigError(
            f"{DATABASE_URL} is not the address of a PostgreSQL database.",
            hint="postgresql://USER:PASSWORD@HOST/NAME; without it the service keeps files in the workspace.",
        )
    return url


def model_spec(settings: Settings, name: str | None) -> tuple[str, ModelSpec]:
    """A model by its registered name, or by `provider/name` where it is not registered.

    Raises:
        UnknownName: It is neither.
    """
    from skill_fleet.foundation.errors import UnknownName

    wanted = name or settings.models.default
    if wanted in settings.models.registry:
        return wanted, settings.models.registry[wanted]
    for known, spec in settings.models.registry.items():
        if spec.model == wanted:
            return known, spec
    if "/" in wanted and not wanted.startswith("/") and not wanted.endswith("/"):
        return wanted, ModelSpec(model=wanted)
    raise UnknownName("model", without_keys(wanted), settings.models.registry)


def _layers(
    place: Workspace,
    config_file: Path | None,
    config_text: str | None,
    flags: Mapping[str, Any],
    env: Mapping[str, str],
) -> list[tuple[str, Flat]]:
    layers: list[tuple[str, Flat]] = [("default", _flatten(_yaml(shipped_config())))]
    user = _user_file(env)
    if _there(user):
        layers.append((str(user), _flatten(_yaml(user))))
    own = config_file or place.config_file
    if config_text is not None:
        layers.append((str(own), _flatten(_yaml_of(own, config_text))))
    elif config_file is not None or _there(own):
        layers.append((str(own), _flatten(_yaml(own))))
    for name in sorted(env):
        # An empty variable is an unset one: it must not lift a cap.
        if name.startswith(_PREFIX) and name not in _RESERVED and env[name].strip():
            key = tuple(name[len(_PREFIX) :].lower().split("__"))
            layers.append((f"environment {name}", _flatten(_scalar(env[name]), key)))
    layers.append(("flag", {tuple(k.split(".")): v for k, v in flags.items() if v is not None}))
    return layers


def _there(path: Path) -> bool:
    """Whether there is such a file or folder; one that may not be seen is not left out: it may hold a cap.

    Raises:
        ConfigError: Its folder may not be looked into.
    """
    try:
        return path.exists()
    except PermissionError as error:
        raise ConfigError(
            f"{path} cannot be looked at: {error.strerror}.",
            hint="Let this user read it, or set HOME and XDG_CONFIG_HOME to folders of its own.",
        ) from error


def _user_file(env: Mapping[str, str]) -> Path:
    from platformdirs import user_config_path

    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) / "skill-fleet" if base else user_config_path("skill-fleet")) / "config.yaml"


def _yaml(path: Path) -> dict[Any, Any]:
    return _yaml_of(path, read_text(path, what="configuration file"))


@lru_cache(maxsize=8)  # a server's helper reads the same files for every question
def _yaml_of(path: Path, text: str) -> dict[Any, Any]:
    """The mapping of a file; shared, so nobody may change it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        value = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{path} is not valid YAML: line {line}: {error.problem}.") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} must hold a mapping of keys to values.")
    return value


def _scalar(text: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return text


def _flatten(value: Any, prefix: tuple[str, ...] = (), around: tuple[Any, ...] = ()) -> Flat:
    if not isinstance(value, dict):
        return {prefix: value}
    if any(outer is value for outer in around):
        raise ConfigError(
            f"{'.'.join(prefix)} refers to itself, by an alias (*) of what it is in.",
            hint="Write its keys out instead.",
        )
    if len(prefix) > _DEEPEST:
        raise ConfigError(f"{'.'.join(prefix[:4])}… is nested too deeply to be a setting.")
    flat: Flat = {}
    for key, inner in value.items():
        flat.update(_flatten(inner, (*prefix, str(key)), (*around, value)))
    return flat


def _overlay(values: Flat, origins: dict[str, str], layer: Flat, origin: str) -> None:
    for key, value in layer.items():
        if value is None and len(key) <= 2 and any(k[: len(key)] == key != k for k in values):
            continue  # a heading with nothing under it says nothing
        # A scalar replaces a whole branch and a branch a scalar: one key has one meaning.
        for old in [k for k in values if k[: len(key)] == key or key[: len(k)] == k]:
            del values[old]
            origins.pop(".".join(old), None)
        values[key] = value
        origins[".".join(key)] = origin


def _nested(values: Flat) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        node = tree
        for part in key[:-1]:
            node = node.setdefault(part, {})
        node[key[-1]] = value
    return tree


def _validated(values: Flat, origins: Mapping[str, str]) -> Settings:
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        said = _PLAINLY.get(first["type"], first["msg"].removeprefix("Value error, "))
        what = "is not a known key" if unknown else f"is wrong: {said}"
        raise ConfigError(
            f"{key} (from {_origin(key, origins)}) {what}.",
            hint=_nearest(key, origins) if unknown else "See: skill-fleet config show.",
        ) from None
    for phase, name in [("models.default", settings.models.default), *_phase_names(settings)]:
        if name is not None and "/" not in name and name not in settings.models.registry:
            raise ConfigError(
                f"{phase} (from {origins.get(phase, 'the configuration')}) names the model '{name}', "
                f"which is not in models.registry.",
                hint=f"Registered: {', '.join(sorted(settings.models.registry))}.",
            )
    return settings


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Where a key was set; for a whole branch, or for a key that is missing in one, where the branch was."""
    if key in origins:
        return origins[key]
    for branch in (key, key.rpartition(".")[0]):
        below = [origins[known] for known in origins if branch and known.startswith(f"{branch}.")]
        if below:
            return below[-1]
    return "the configuration"


def _nearest(key: str, origins: Mapping[str, str]) -> str:
    known = sorted(k for k in origins if k != key and origins[k] == "default")
    known += sorted({k.partition(".")[0] for k in known})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    return f"Did you mean '{near[0]}'?" if near else "See: skill-fleet config show."


def _phase_names(settings: Settings) -> list[tuple[str, str | None]]:
    return [(f"phases.{name}", value) for name, value in settings.phases.model_dump().items()]
