"""An optimized program on disk: `NAME.json` (DSPy's JSON state) beside `NAME.manifest.json` (its origin).

What DSPy cannot save (neighbours found per input, several programs that vote, several attempts) has a state
of its own in the same file: a recipe and the states of its members, see `recipes`.

Both are replaced in one step each, the manifest last; it holds the hash of the program it belongs to, so a
half-published pair is noticed when it is loaded. Nothing executable is stored or loaded.
"""

import hashlib
import importlib.metadata
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dspy

from skill_fleet import __version__
from skill_fleet.core.programs.catalog import (
    BUILT_IN,
    ProgramEntry,
    find_program,
    program_hash,
    source_digest,
    without_models,
)
from skill_fleet.core.programs.recipes.rebuild import code_digest, with_state
from skill_fleet.core.programs.recipes.recipe import members_in
from skill_fleet.foundation.errors import DataError, IntegrityError
from skill_fleet.foundation.files import read_json, read_text, write_bytes, write_json

FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Where a program came from and what was measured of it.

    Attributes:
        program: `SkillCreationProgram` or `module:Class`.
        program_sha256: Of the program file's bytes.
        program_hash: Of instructions, demos and fields.
        source_digest: Of the code it was made with, a recipe's reward included.
        versions: Of skill-fleet, DSPy, gepa, optuna and Python.
        simulated: Whether any model behind it was the built-in offline one.
        run_id: The run that made it, or None.
        optimizer: What made it, or None for a plain program.
        seed: The run's seed.
        models: Phase -> the settings that decide its answers.
        data: Digests and sizes of the training set and its split.
        scores: What was measured, in [0, 1]; null where not measured.
        verdict: Against the baseline, on the sealed test.
        cost: Calls, tokens, dollars of the run.
        resumed_over: What had changed, in words, when the run was resumed all the same.
        created_at: ISO 8601, UTC.
        format: Version of this file's shape.
    """

    program: str
    program_sha256: str
    program_hash: str
    source_digest: str
    versions: Mapping[str, str]
    simulated: bool
    created_at: str
    run_id: str | None = None
    optimizer: str | None = None
    seed: int | None = None
    models: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    verdict: str | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)
    resumed_over: Sequence[str] = ()
    format: int = FORMAT


@dataclass(frozen=True)
class Loaded:
    """A program read from disk.

    Attributes:
        program: Ready to run.
        entry: How a fresh one is built, and what it takes.
        manifest: Its provenance, or None where the file has none.
        differences: One sentence for each thing that is not as it was when it was saved.
    """

    program: dspy.Module
    entry: ProgramEntry
    manifest: Manifest | None
    differences: tuple[str, ...]


def versions() -> dict[str, str]:
    """What the result of an optimization depends on."""
    found = {name: importlib.metadata.version(name) for name in ("dspy", "gepa", "optuna")}
    return {"skill-fleet": __version__, **found, "python": platform.python_version()}


def manifest_path(path: Path) -> Path:
    """Where the manifest of a program file lies."""
    return path.with_name(f"{path.stem}.manifest.json")


def save_artifact(program: dspy.Module, path: Path, facts: Mapping[str, Any]) -> Manifest:
    """Write a program and its manifest.

    Args:
        program: What to save; language models inside it are left out.
        path: `NAME.json`.
        facts: Fields of the manifest that are known of the run; `program` among them.

    Raises:
        StorageError: A file cannot be written; what was there is as it was.
    """
    data = _state_bytes(program)
    manifest = Manifest(
        program_sha256=hashlib.sha256(data).hexdigest(),
        program_hash=program_hash(program),
        versions=versions(),
        **facts,
    )
    write_bytes(path, data)
    write_json(manifest_path(path), asdict(manifest))
    return manifest


def copy_artifact(source: Path, target: Path) -> None:
    """Copy a program and its manifest, byte for byte, the manifest first: a program that is there is whole.

    Raises:
        StorageError: A file cannot be written.
    """
    if manifest_path(source).exists():
        write_bytes(manifest_path(target), manifest_path(source).read_bytes())
    write_bytes(target, source.read_bytes())


def load_artifact(path: Path, *, program: str | None = None, search: Path | None = None) -> Loaded:
    """Read a program.

    Args:
        path: `NAME.json`.
        program: Which program it is the state of; None takes the manifest's word, else the built-in one.
        search: Where `module:Class` is looked up.

    Raises:
        NotFound: There is no such file.
        DataError: It is not a program's state, or not of this program.
        IntegrityError: The program file is not the one its manifest describes.
        UsageError: The program, or a recipe's reward, cannot be imported.
    """
    manifest = read_origin(path)
    state = read_json(path, what="program file")
    entry = find_program(program or (manifest.program if manifest else BUILT_IN), search=search)
    fresh = entry.build()
    source = source_digest(fresh)
    if not isinstance(state, dict):
        raise DataError(f"{path} is not the saved state of a program.")
    for part in members_in(state):
        _check_predictors(path, entry, fresh, part)
    try:
        found = with_state(fresh, without_models(state), search=search)
    # DSPy raises a NotImplementedError of its own for saved states of a form that it reads no more.
    except (KeyError, TypeError, ValueError, AttributeError, NotImplementedError) as error:
        raise DataError(f"{path} is not a saved state of {entry.name}: {error}.") from error
    except DataError as error:
        raise DataError(f"{path} is not a saved state of {entry.name}: {error.message}") from error
    whole = code_digest(source, found, search=search)
    code = entry.name if whole == source else f"{entry.name}, or of its reward,"
    return Loaded(found, entry, manifest, _differences(manifest, code, whole))


def read_origin(path: Path) -> Manifest | None:
    """The manifest of a program file, checked against it; None where it has none. Nothing is built.

    Raises:
        NotFound: There is no such file.
        DataError: The manifest, or the file, is not one.
        IntegrityError: The program file is not the one its manifest describes.
    """
    text = read_text(path, what="program file")
    manifest = _read_manifest(manifest_path(path))
    if manifest is not None and hashlib.sha256(text.encode()).hexdigest() != manifest.program_sha256:
        raise IntegrityError(
            f"{path} is not the program its manifest describes: it was edited, or saving was cut off.",
            hint="Put a version back: skill-fleet artifacts. Or delete the manifest to use it as it is.",
        )
    return manifest


def _check_predictors(path: Path, entry: ProgramEntry, fresh: dspy.Module, state: Any) -> None:
    not_ours = f"{path} is not a saved state of {entry.name}"
    if not isinstance(state, dict):
        raise DataError(f"{not_ours}: a member is no state.")
    missing = sorted({name for name, _ in fresh.named_parameters()} - state.keys())
    if missing:
        raise DataError(f"{not_ours}: the predictor '{missing[0]}' is not in it.")
    for name, predictor in fresh.named_predictors():
        # DSPy fits fields by position and says nothing when there are more or fewer.
        wanted = len(predictor.signature.fields)
        signature = state[name].get("signature") if isinstance(state[name], dict) else None
        fields = signature.get("fields") if isinstance(signature, dict) else None
        if not isinstance(fields, list) or len(fields) != wanted:
            raise DataError(f"{not_ours}: its predictor '{name}' does not have {wanted} fields.")


def _state_bytes(program: dspy.Module) -> bytes:
    plain = program.deepcopy()
    for _, predictor in plain.named_predictors():
        predictor.lm = None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.json"
        plain.save(str(file))
        return file.read_bytes()


def _read_manifest(path: Path) -> Manifest | None:
    if not path.exists():
        return None
    value = read_json(path, what="manifest")
    known = set(Manifest.__dataclass_fields__)
    if not isinstance(value, dict) or value.get("format") != FORMAT or not known >= value.keys():
        raise DataError(f"{path} is not a manifest of format {FORMAT}.")
    over = value.get("resumed_over", [])
    if not isinstance(over, list):
        raise DataError(f"{path} is not a manifest of format {FORMAT}: a field is of the wrong type.")
    try:
        manifest = Manifest(**{**value, "resumed_over": tuple(over)})
    except TypeError as error:
        raise DataError(f"{path} is not a complete manifest: {error}.") from None
    texts = (manifest.program, manifest.program_sha256, manifest.source_digest)
    objects = (manifest.versions, manifest.models, manifest.data, manifest.scores, manifest.cost)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(o, dict) for o in objects):
        raise DataError(f"{path} is not a manifest of format {FORMAT}: a field is of the wrong type.")
    return manifest


def _differences(manifest: Manifest | None, code: str, source: str) -> tuple[str, ...]:
    if manifest is None:
        return ("It has no manifest, so where it came from and how good it is are unknown.",)
    found = []
    now = versions()
    changed = [
        f"{name} {then} -> {now.get(name)}"
        for name, then in manifest.versions.items()
        if now.get(name) != then
    ]
    if changed:
        found.append(f"It was made with other versions: {', '.join(changed)}.")
    if manifest.source_digest != source:
        found.append(f"The code of {code} has changed since it was optimized.")
    return tuple(found)
