"""Published programs: what there is and was, where it came from, putting one back, publishing by hand."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.core.programs.artifact import load_artifact, manifest_path, read_origin
from skill_fleet.core.programs.history import (
    Version,
    exclusive,
    find_version,
    holds,
    list_versions,
    put_in_place,
)
from skill_fleet.core.programs.recipes.recipe import Recipe, members_of
from skill_fleet.foundation.clock import iso
from skill_fleet.foundation.errors import DataError, IntegrityError, NotFound, SkillFleetError, UsageError
from skill_fleet.optimization.planning.output import output_file
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.services.context import Context
from skill_fleet.services.programs import notes_of, run_request
from skill_fleet.services.published import find_published, known, name_of, place_of, published


def list_artifacts(context: Context) -> list[dict[str, Any]]:
    """Every published program and its versions, by name, what is published first, then the last replaced.

    Each has `name`, `version`, `current`, `path`, `program`, `optimizer`, `verdict`, `quality` (mean on the
    sealed test), `simulated`, `run_id`, `created_at`, and `problem` where it cannot be used.
    """
    return [
        _line(context, name, version)
        for name, file in sorted(published(context))
        for version in list_versions(file)
    ]


def show_artifact(context: Context, wanted: str) -> dict[str, Any]:
    """One program: where it came from, and what is in it.

    It is the line of the list with `manifest`, `notes`, the `instructions` that are not those of the plain
    program (`plain` and `now`, by predictor), how many `demos` each predictor has, and `recipe`: null, or the
    parameters of one (lists as their lengths) with `members` and `runs_per_answer`. The predictors of several
    members are called `1: NAME` and so on.

    Args:
        context: Settings and workspace.
        wanted: `NAME`, `NAME@VERSION`, or a `.json` file.

    Raises:
        NotFound: It is not there.
        IntegrityError: The file is not the one its manifest describes.
        DataError: It is not a saved program, or does not fit the present code.
    """
    name, version = find_published(context, wanted)
    if version.problem is not None:
        load_artifact(version.path, search=context.workspace.root)  # says what is wrong, with a hint
        raise IntegrityError(version.problem)
    loaded = load_artifact(version.path, search=context.workspace.root)
    plain = dict(loaded.entry.build().named_predictors())
    predictors = list(_predictors(loaded.program))
    return {
        **_line(context, name, version),
        "manifest": None if loaded.manifest is None else asdict(loaded.manifest),
        "notes": list(notes_of(loaded)),
        "recipe": _recipe(loaded.program),
        "instructions": dict(_changed(plain, predictors)),
        "demos": {label: len(one.demos) for label, _, one in predictors},
    }


def rollback_artifact(context: Context, name: str, to: str | None = None) -> dict[str, Any]:
    """Put an earlier version back; what is published now is kept as a version.

    Args:
        context: Settings and workspace.
        name: Of a published program, or its file in the workspace.
        to: A version or the beginning of one; None is the one that was replaced last.

    Returns:
        `name`, `artifact`, `manifest`, `version`, `replaced` (null where nothing was to be kept), `notes`.

    Raises:
        NotFound: There is no such program or version.
        DataError: It is what is published already, or does not fit the present code.
        IntegrityError: It is not what was kept.
        UsageError: The file is outside of the workspace.
    """
    name, file = place_of(context, name)
    _require_inside(context, file)
    with exclusive(context.workspace.state):
        version = find_version(known(context, name, file), to)
        if version.problem is not None:
            raise IntegrityError(
                version.problem, hint=f"Choose another: skill-fleet artifacts list ({name})."
            )
        if version.current:
            raise DataError(f"The version {version.id} of '{name}' is what is published.", code="current")
        loaded = load_artifact(version.path, search=context.workspace.root)
        replaced = put_in_place(version.path, file, at=iso(context.clock.now()), how="rollback")
    return {
        "name": name,
        **_places(context, file),
        "version": version.id,
        "replaced": replaced,
        "notes": list(notes_of(loaded)),
    }


def promote_run(context: Context, run_id: str, output: str | None = None) -> dict[str, Any]:
    """Publish the program a run found, whatever its verdict; the manifest goes with it as it is.

    Where the same program is published already, nothing is written: it makes no version.

    Args:
        context: Settings and workspace.
        run_id: A run's name, the beginning of it, or `latest`.
        output: A `.json` file or a directory; None is where the run would have published.

    Returns:
        `name`, `artifact`, `manifest`, `version`, `replaced`, `unchanged` (whether the same program was
        published before), `run_id`, `verdict`, `notes`.

    Raises:
        NotFound: There is no such run, or it has no program yet.
        IntegrityError: The run's program is not the one its manifest describes.
        DataError: Another program is published there.
        UsageError: The output is no `.json` file.
        StorageError: It cannot be written.
    """
    folder = find_run(context.workspace.runs, run_id)
    if not folder.candidate.exists():
        hint = f"Go on with it: skill-fleet runs resume {folder.run_id}."
        raise NotFound(f"The run {folder.run_id} has no program yet.", hint=hint)
    request = run_request(folder)
    file = output_file(request if output is None else replace(request, output=output), context.loaded)
    loaded = load_artifact(folder.candidate, program=request.program, search=context.workspace.root)
    with exclusive(context.workspace.state):
        _require_same_program(file, request.program)
        there = loaded.manifest is not None and holds(file, loaded.manifest.program_hash)
        replaced = (
            None
            if there
            else put_in_place(folder.candidate, file, at=iso(context.clock.now()), how="promote")
        )
    return {
        "name": name_of(context, file),
        **_places(context, file),
        "version": list_versions(file)[0].id,
        "replaced": replaced,
        "unchanged": bool(there),
        "run_id": folder.run_id,
        "verdict": None if loaded.manifest is None else loaded.manifest.verdict,
        "notes": list(notes_of(loaded)),
    }


def _require_inside(context: Context, file: Path) -> None:
    root = context.workspace.root
    if not file.resolve().parent.is_relative_to(root) or not file.parent.resolve().is_relative_to(root):
        raise UsageError(f"{file} lies outside of the workspace {root}.", hint="Name one: --workspace DIR.")


def _require_same_program(file: Path, program: str) -> None:
    """Refuse to put one program where another one is used from; what is damaged may be replaced."""
    try:
        manifest = read_origin(file)
    except SkillFleetError:
        return
    if manifest is not None and manifest.program != program:
        raise DataError(
            f"{file} is the program {manifest.program}, the run's is {program}.", hint="Choose an --output."
        )


def _places(context: Context, file: Path) -> dict[str, str]:
    relative = context.workspace.relative
    return {"artifact": relative(file), "manifest": relative(manifest_path(file))}


def _line(context: Context, name: str, version: Version) -> dict[str, Any]:
    manifest = version.manifest
    facts = ("program", "optimizer", "verdict", "simulated", "run_id", "created_at")
    return {
        "name": name,
        "version": version.id,
        "current": version.current,
        "path": context.workspace.relative(version.path),
        **{fact: getattr(manifest, fact, None) for fact in facts},
        "quality": None if manifest is None else _quality(manifest.scores),
        "problem": version.problem,
    }


def _quality(scores: Any) -> float | None:
    optimized = scores.get("optimized") if isinstance(scores, dict) else None
    found = optimized.get("test") if isinstance(optimized, dict) else None
    return found if isinstance(found, int | float) else None


def _recipe(program: dspy.Module) -> dict[str, Any] | None:
    if not isinstance(program, Recipe):
        return None
    parameters = {
        name: len(value) if isinstance(value, list) else value for name, value in program.recipe.items()
    }
    return {
        **parameters,
        "members": len(program.members),
        "runs_per_answer": program.runs_per_answer,
    }


def _predictors(program: dspy.Module) -> Iterator[tuple[str, str, dspy.Predict]]:
    """Label, name and predictor, of all ordinary programs in a program."""
    members = members_of(program)
    for number, member in enumerate(members, start=1):
        for name, predictor in member.named_predictors():
            yield (name if len(members) == 1 else f"{number}: {name}"), name, predictor


def _changed(
    plain: dict[str, dspy.Predict], predictors: list[tuple[str, str, dspy.Predict]]
) -> Iterator[tuple[str, dict[str, str]]]:
    for label, name, predictor in predictors:
        before, now = plain[name].signature.instructions, predictor.signature.instructions
        if before != now:
            yield label, {"plain": before, "now": now}
