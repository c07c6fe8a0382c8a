"""Training sets: made of a library, checked, split, described."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skill_fleet.domain.derive import derive_trainset
from skill_fleet.domain.lint import lint_trainset
from skill_fleet.domain.split import split_trainset
from skill_fleet.domain.trainset import TrainingItem, Trainset, dump_trainset, load_trainset, trainset_from
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import write_json
from skill_fleet.services.context import Context

_PARTS = ("train", "validation", "test")
_SHOWN = 3


def build_dataset(
    context: Context, library: str, output: str, *, group_by: str, seed: int, force: bool
) -> dict[str, Any]:
    """A training set of the skills below a folder, written to a file.

    Returns:
        `output`, `examples`, `groups`, `skipped` (with reasons), `findings`.

    Raises:
        NotFound: There is no such folder.
        DataError: No skill of it gives an example, or the file is there already.
        StorageError: The file cannot be written.
    """
    target = _target(context, output, force=force)
    trainset, skipped = derive_trainset(context.path(library), group_by=group_by, seed=seed)
    write_json(target, dump_trainset(trainset))
    return {
        "output": context.workspace.relative(target),
        "examples": len(trainset.items),
        "groups": len({item.group for item in trainset.items}),
        "skipped": [asdict(one) for one in skipped],
        "findings": [asdict(found) for found in lint_trainset(trainset)],
    }


def lint_dataset(context: Context, file: str | None) -> dict[str, Any]:
    """What is wrong with a training set: `source`, `examples`, `valid`, `findings`.

    Raises:
        NotFound: There is no such file.
        DataError: It is not a training set.
    """
    trainset = _read(context, file)
    findings = lint_trainset(trainset)
    return {
        "source": trainset.source,
        "examples": len(trainset.items),
        "valid": all(found.severity != "error" for found in findings),
        "findings": [asdict(found) for found in findings],
    }


def split_dataset(
    context: Context,
    file: str | None,
    output: str,
    *,
    holdout: Sequence[str],
    force: bool,
) -> dict[str, Any]:
    """Train, validation and sealed test as three files in a folder; seed and `min_groups` are settings.

    Returns:
        For each part its file, examples and groups; the digest of the split.

    Raises:
        NotFound: There is no such file.
        DataError: The data cannot be split so, or the files are there already.
        StorageError: A file cannot be written.
    """
    trainset = _read(context, file)
    settings = context.settings.optimization
    split = split_trainset(
        trainset, seed=settings.seed, min_groups=settings.min_groups, holdout_groups=tuple(holdout)
    )
    targets = {part: _target(context, f"{output}/{part}.json", force=force) for part in _PARTS}
    parts = {}
    for part, target in targets.items():
        items: tuple[TrainingItem, ...] = getattr(split, part)
        write_json(target, dump_trainset(trainset_from(items, source=part)))
        parts[part] = {
            "file": context.workspace.relative(target),
            "examples": len(items),
            "groups": len({item.group for item in items}),
        }
    return {"source": trainset.source, "seed": split.seed, "digest": split.digest, **parts}


def show_dataset(context: Context, file: str | None) -> dict[str, Any]:
    """What is in a training set: examples, groups, independent groups, fields, topics, the first few."""
    trainset = _read(context, file)
    items = trainset.items
    topics = Counter(str(item.fields.get("expected_taxonomy_path", "")).partition("/")[0] for item in items)
    return {
        "source": trainset.source,
        "digest": trainset.digest,
        "skill_data": trainset.is_skill_data,
        "examples": len(items),
        "groups": len({item.group for item in items}),
        "independent_groups": len(units_of(items)),
        "fields": dict(Counter(name for item in items for name in item.fields).most_common()),
        "topics": {name: number for name, number in topics.most_common() if name},
        "first": dump_trainset(trainset_from(items[:_SHOWN], source=trainset.source)),
    }


def _read(context: Context, file: str | None) -> Trainset:
    return load_trainset(context.workspace.trainset if file is None else context.path(file))


def _target(context: Context, output: str, *, force: bool) -> Path:
    target = Path(output).expanduser().absolute()
    if target.is_dir():
        raise DataError(f"--output {target} is a directory.", hint="Name a file in it.")
    if target.exists() and not force:
        raise DataError(
            f"There is already a file at {context.workspace.relative(target)}.",
            hint="Use --force to replace it.",
            code="exists",
        )
    return target
