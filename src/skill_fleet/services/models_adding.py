"""A model put into the workspace's `config.yaml`: one entry more, everything else in the file as it was."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError
from ruamel.yaml.error import YAMLError

from skill_fleet.config.load import Loaded, load
from skill_fleet.config.paths import Workspace
from skill_fleet.config.settings import ModelSpec, Phase
from skill_fleet.config.splice import CannotSplice, holds, in_yaml, spliced
from skill_fleet.foundation.errors import ConfigError, DataError, SkillFleetError, StorageError, UsageError
from skill_fleet.foundation.files import read_text, write_text
from skill_fleet.llm.commands.known import command_line, find_program
from skill_fleet.llm.providers.routes import effective_address, route_of, usual_keys
from skill_fleet.services.models_secrets import refuse_secrets

_LOCK_SECONDS = 10.0
_LONGEST_NAME = 64
_IN_PLACE_OF_SLASHES = "provider/name stands for a model that is not registered"


@dataclass(frozen=True)
class NewModel:
    """A model to be registered.

    Attributes:
        name: What it is to be called.
        entry: Keys of `ModelSpec` and their values, in the order they are written; None values are not set.
        default: Whether it becomes `models.default`.
        phases: Phases that are to use it.
        force: Whether an entry of that name may be replaced.
    """

    name: str
    entry: Mapping[str, Any]
    default: bool = False
    phases: tuple[Phase, ...] = ()
    force: bool = False


@dataclass(frozen=True)
class AddedModel:
    """What was written.

    Attributes:
        name: Of the model.
        entry: Its keys and values in the file.
        path: The file.
        created: Whether the file was not there before.
        replaced: Whether there was an entry of that name in it.
        remarks: What is to be done or known before it is used; a sentence each.
    """

    name: str
    entry: Mapping[str, Any]
    path: Path
    created: bool
    replaced: bool
    remarks: tuple[str, ...]


def add_model(
    new: NewModel, workspace: Path | None = None, environ: Mapping[str, str] | None = None
) -> AddedModel:
    """Register a model. Nothing is written unless the whole configuration is valid with it.

    A server of one's own gets its usual address written down. A key is never written, only the name of the
    variable that holds it.

    Args:
        new: The model.
        workspace: Its directory; None reads the environment, else takes the current directory.
        environ: The environment; None reads the process's.

    Raises:
        UsageError: A name or a value is off, or looks like a key.
        ConfigError: The configuration is wrong, before or with it, or the file leaves no place for it.
        DataError: There is a model of that name already.
        StorageError: The file cannot be read or written.
    """
    loaded = load(workspace, environ=environ)
    given = {key: value for key, value in new.entry.items() if value is not None}
    refuse_secrets({"name": new.name, **given}, loaded.environ)  # before anything given is shown
    _check_name(new.name)
    spec, entry = _completed(given)
    path = loaded.workspace.config_file.resolve()  # a link stays one
    with _alone(loaded.workspace):
        created = not path.exists()
        before = "" if created else read_text(path, what="configuration file")
        replaced = _replaces(new, before, loaded)
        after = _with_model(before, new, entry, path)
        checked = load(loaded.workspace.root, config_text=after, environ=loaded.environ)
        _check_effect(new, spec, checked)
        _check_writable(path)
        write_text(path, after)
    remarks = (*_remarks(new.name, spec, loaded.environ), *_overridden(new, checked))
    return AddedModel(new.name, entry, path, created, replaced, remarks)


def _check_name(name: str) -> None:
    shown = " ".join(name.split())
    if "/" in name:
        raise UsageError(f"A model cannot be called '{shown}': {_IN_PLACE_OF_SLASHES}.")
    plain = all(character.isalnum() or character in "._-" for character in name)
    if not name or not plain or name.startswith(("-", ".")) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"A model cannot be called '{shown}'.",
            hint=f"Letters, digits, '.', '_' and '-', at most {_LONGEST_NAME}, for example gpt-4.1-mini.",
        )


def _completed(given: Mapping[str, Any]) -> tuple[ModelSpec, dict[str, Any]]:
    """The entry, checked, with the address of a server of one's own where none was given."""
    entry = dict(given)
    try:
        spec = ModelSpec.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{place}: {said}." if place else f"The model is wrong: {said}.") from None
    if spec.is_command:
        command_line(spec)
    if spec.offline or spec.is_command or spec.provider == "litellm":
        return spec, entry
    address = effective_address(spec)
    if spec.api_base is None and route_of(spec.model).local:
        keys = list(entry)
        keys.insert(keys.index("model") + 1, "api_base")
        entry = {key: entry.get(key, address) for key in keys}
        spec = ModelSpec.model_validate(entry)
    return spec, entry


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Hold the configuration of a workspace, so that of two additions neither is lost."""
    lock = FileLock(workspace.state / "config.lock")
    try:
        workspace.state.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=_LOCK_SECONDS)
    except Timeout:
        raise StorageError(f"Another process is changing the configuration of {workspace.root}.") from None
    except OSError as error:
        raise StorageError(f"{workspace.state} cannot be written: {error.strerror}.") from error
    try:
        yield
    finally:
        lock.release()


def _replaces(new: NewModel, text: str, loaded: Loaded) -> bool:
    """Whether the file has a model of that name.

    Raises:
        DataError: It has, or another source has, and it may not be replaced.
    """
    here = holds(text, ("models", "registry", new.name))
    if (here or new.name in loaded.settings.models.registry) and not new.force:
        raise DataError(
            f"There is already a model named '{new.name}'.",
            hint="Use --force to replace it, or another name.",
            code="exists",
        )
    return here


def _with_model(text: str, new: NewModel, entry: Mapping[str, Any], path: Path) -> str:
    changes: list[tuple[tuple[str, ...], Any]] = [(("models", "registry", new.name), dict(entry))]
    if new.default:
        changes.append((("models", "default"), new.name))
    changes += [(("phases", phase), new.name) for phase in dict.fromkeys(new.phases)]
    for place, value in changes:
        try:
            text = spliced(text, place, value)
        except CannotSplice:
            pasted = " ".join(in_yaml(value, place[-1]).split())
            raise ConfigError(
                f"{path} is laid out so that {'.'.join(place)} cannot be put in safely.",
                hint=f"Write it by hand: {pasted}",
            ) from None
        except YAMLError as error:
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    return text


def _check_effect(new: NewModel, spec: ModelSpec, checked: Loaded) -> None:
    """Refuse an entry that another source would change: what was asked for is what must be used."""
    found = checked.settings.models.registry[new.name]
    if found == spec:
        return
    begin = f"models.registry.{new.name}."
    own = str(checked.workspace.config_file)
    foreign = {
        origin: key
        for key, origin in checked.origins.items()
        if key.startswith(begin) and origin != own and origin
    }
    origin, key = next(iter(foreign.items()), ("another source", begin.rstrip(".")))
    raise UsageError(
        f"The model '{new.name}' would not be as asked for: {key} is also set by: {origin}.",
        hint="Take another name, or change it there.",
    )


def _check_writable(path: Path) -> None:
    """Respect a file that its owner has made read-only: replacing it needs no right to write it."""
    if path.exists() and not path.stat().st_mode & 0o222:
        raise StorageError(f"{path} is read-only.", hint=f"chmod u+w {path}")


def _overridden(new: NewModel, checked: Loaded) -> Iterator[str]:
    chosen: list[tuple[str, str | None]] = []
    if new.default:
        chosen.append(("models.default", checked.settings.models.default))
    chosen += [(f"phases.{phase}", getattr(checked.settings.phases, phase)) for phase in new.phases]
    for key, found in chosen:
        if found != new.name:
            yield f"{key} stays {found}: it is set by {checked.origins.get(key, 'another source')}."


def _remarks(name: str, spec: ModelSpec, environ: Mapping[str, str]) -> Iterator[str]:
    if spec.is_command:
        try:
            find_program(spec, environ)
        except SkillFleetError as error:
            yield f"{error.message} {error.hint}".strip()
        return
    variables = (spec.api_key_env,) if spec.api_key_env else usual_keys(spec.provider)
    own_server = spec.api_base is not None and not spec.api_key_env
    if variables and not own_server and not any(environ.get(variable) for variable in variables):
        yield f"Its key is missing: export {' or '.join(variables)}=…"
    if spec.api_base is not None and spec.price is None:
        yield (
            "Its price is unknown, so --max-cost is refused for it; where it costs nothing: "
            "--price-in 0 --price-out 0."
        )
    if spec.max_tokens is None and not spec.offline:
        yield f"Its answers have no longest length; --max-cost needs one: models.registry.{name}.max_tokens."
