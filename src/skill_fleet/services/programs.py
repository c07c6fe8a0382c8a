"""Programs by what a user calls them: a file, a run, a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy

from skill_fleet.core.programs.artifact import Loaded, load_artifact
from skill_fleet.core.programs.catalog import BUILT_IN, ProgramEntry, find_program, program_hash
from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.foundation.errors import DataError, NotFound, UsageError
from skill_fleet.foundation.files import read_json
from skill_fleet.optimization.planning.parts import split_from_json
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder, find_run, list_runs
from skill_fleet.services.context import Context
from skill_fleet.services.published import find_published, published, published_names


@dataclass(frozen=True)
class NamedProgram:
    """A program that can be measured.

    Attributes:
        label: As the user called it.
        program: Ready to run.
        entry: How a fresh one is built.
        hash: Of what optimization changes.
        run: The run that made it, where that is here.
        notes: What a reader of its results should know.
    """

    label: str
    program: dspy.Module
    entry: ProgramEntry
    hash: str
    run: RunFolder | None
    notes: tuple[str, ...] = ()


def load_program(context: Context, name: str) -> NamedProgram:
    """A program by its file, by its published name, by the run that made it, or by its class.

    A class (`module:Class` or the built-in one) is the plain program; `NAME@VERSION` one that was published.

    Raises:
        NotFound: It is none of these, or the run has no program yet.
        DataError: The file is not a program's state.
        IntegrityError: The file is not the one its manifest describes.
    """
    path = context.path(name)
    if path.is_file() or name.endswith(".json"):
        return _from_file(context, name, path, None)
    if ":" in name or name == BUILT_IN:
        entry = find_program(name, search=context.workspace.root)
        program = entry.build()
        return NamedProgram(name, program, entry, program_hash(program), None)
    if "@" in name or any(name == one for one, _ in published(context)):
        return _from_file(context, name, find_published(context, name)[1].path, None)
    folder = _run(context, name)
    if not folder.candidate.exists():
        hint = f"Go on with it: skill-fleet runs resume {folder.run_id}."
        raise NotFound(f"The run {folder.run_id} has no program yet.", hint=hint)
    return _from_file(context, folder.run_id, folder.candidate, folder)


def same_kind(programs: Sequence[NamedProgram]) -> None:
    """Refuse programs that cannot be measured by one metric on one set.

    Raises:
        UsageError: They are different programs.
    """
    kinds = {named.entry.name for named in programs}
    if len(kinds) > 1:
        raise UsageError(f"These are different programs and cannot be compared: {', '.join(sorted(kinds))}.")


def same_test(programs: Sequence[NamedProgram]) -> tuple[TrainingItem, ...]:
    """The sealed test that all programs share.

    Raises:
        UsageError: None of them is from a run that is here.
        DataError: Their tests are not the same.
    """
    folders = list(dict.fromkeys(named.run for named in programs if named.run is not None))
    if not folders:
        raise UsageError(
            "No program named is from a run of this workspace, so there is no sealed test.",
            hint="Name the examples: --data FILE.",
        )
    tests = [sealed_test(folder) for folder in folders]
    if any(test != tests[0] for test in tests[1:]):
        raise DataError("The runs do not have the same sealed test.", hint="Name the examples: --data FILE.")
    return tests[0]


def sealed_test(folder: RunFolder) -> tuple[TrainingItem, ...]:
    """The examples of a run's sealed test.

    Raises:
        NotFound: The run's folder is not complete.
        DataError: It was tested by folds: there is no example that its program did not see.
    """
    test = split_from_json(read_json(folder.data, what="run data")).test
    if not test:
        raise DataError(
            f"The run {folder.run_id} was tested by folds: it has no sealed test.",
            hint="Name examples that it did not see: --data FILE.",
        )
    return test


def run_request(folder: RunFolder) -> OptimizationRequest:
    """What was asked of a run.

    Raises:
        DataError: The request cannot be read.
    """
    return OptimizationRequest.from_json(read_json(folder.request, what="run request"))


def _run(context: Context, name: str) -> RunFolder:
    try:
        return find_run(context.workspace.runs, name)
    except NotFound:
        runs = ", ".join(folder.run_id for folder in list_runs(context.workspace.runs)[:5])
        known = f"{published_names(context)} Runs: {runs}." if runs else published_names(context)
        raise NotFound(
            f"There is neither a program nor a run named '{name}'.",
            hint=f"{known} Or name a class: module:Class.",
        ) from None


def _from_file(context: Context, label: str, path: Path, folder: RunFolder | None) -> NamedProgram:
    loaded = load_artifact(path, search=context.workspace.root)
    made_by = loaded.manifest.run_id if loaded.manifest else None
    if folder is None and made_by is not None:
        folder = next((run for run in list_runs(context.workspace.runs) if run.run_id == made_by), None)
    notes = notes_of(loaded)
    if loaded.manifest is not None and loaded.manifest.optimizer and made_by and folder is None:
        lost = f"Its run {made_by} is not here: of what it was made with, only what it holds itself is known."
        notes = (*notes, lost)
    return NamedProgram(label, loaded.program, loaded.entry, program_hash(loaded.program), folder, notes)


def notes_of(loaded: Loaded) -> tuple[str, ...]:
    """What a reader of anything made with a saved program should know of it, a sentence each."""
    simulated = loaded.manifest is not None and loaded.manifest.simulated
    found = ("It was optimized with the built-in simulator, not with a language model.",) if simulated else ()
    return (*found, *loaded.differences)
