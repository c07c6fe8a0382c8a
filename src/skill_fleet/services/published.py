"""Published programs by name: `NAME` of `config/optimized/NAME.json`, `NAME@VERSION`, or a file."""

import re
from collections.abc import Iterator
from pathlib import Path

from skill_fleet.core.programs.history import FOLDER, Version, find_version, list_versions
from skill_fleet.foundation.errors import NotFound
from skill_fleet.services.context import Context

_PART = re.compile(r"\w[\w.-]*")


def published(context: Context) -> Iterator[tuple[str, Path]]:
    """Name and file of every program that is published in the workspace, or was."""
    root = context.workspace.optimized
    files = {file for file in root.rglob("*.json") if FOLDER not in file.relative_to(root).parts[:-1]}
    files |= {
        folder.parent.parent / f"{folder.name}.json"
        for folder in root.rglob(f"{FOLDER}/*")
        if folder.is_dir() and any(folder.glob("*.json"))
    }
    for file in files:
        if not file.name.startswith(".") and not file.name.endswith(".manifest.json"):
            yield name_of(context, file), file


def find_published(context: Context, wanted: str) -> tuple[str, Version]:
    """The name and the version of what a user calls `NAME`, `NAME@VERSION` or by a file.

    Raises:
        NotFound: It is not there.
    """
    name, at, version = wanted.partition("@")
    if not wanted.endswith(".json") and at:
        name, file = place_of(context, name)
        return name, find_version(known(context, name, file), version)
    name, file = place_of(context, wanted)
    current = next((one for one in list_versions(known(context, name, file)) if one.current), None)
    if current is None:
        raise NotFound(f"'{name}' is not published now.", hint="See: skill-fleet artifacts list.")
    return name, current


def place_of(context: Context, name: str) -> tuple[str, Path]:
    """The name and the file of what a user calls by its name, or by its file."""
    if name.endswith(".json"):
        file = context.path(name)
        file = file if file.is_absolute() else Path.cwd() / file
        return name_of(context, file), file
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise NotFound(f"There is no published program named '{name}'.", hint=published_names(context))
    return name, context.workspace.optimized / f"{name}.json"


def known(context: Context, name: str, file: Path) -> Path:
    """The file, if something is published there or was.

    Raises:
        NotFound: There is nothing.
    """
    if not list_versions(file):
        raise NotFound(f"There is no published program named '{name}'.", hint=published_names(context))
    return file


def published_names(context: Context) -> str:
    """The names there are, as a hint."""
    names = sorted({name for name, _ in published(context)})
    return f"Published: {', '.join(names)}." if names else "Nothing is published: skill-fleet optimize."


def name_of(context: Context, file: Path) -> str:
    """What a published file is called: its path below `config/optimized`, or all of it elsewhere."""
    root = context.workspace.optimized
    return file.relative_to(root).with_suffix("").as_posix() if file.is_relative_to(root) else str(file)
