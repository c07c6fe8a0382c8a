"""The data of a run: read, cut into its parts, and kept with the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skill_fleet.config.load import Loaded
from skill_fleet.domain.borrow import borrowing_split
from skill_fleet.domain.derive import derive_trainset
from skill_fleet.domain.folds import fold_splits, split_without_test
from skill_fleet.domain.library import Library
from skill_fleet.domain.split import Split, split_of, split_trainset, split_with
from skill_fleet.domain.trainset import Trainset, dump_trainset, load_trainset, trainset_from, trainset_of
from skill_fleet.domain.units import units_of
from skill_fleet.foundation.errors import DataError, IntegrityError, NotFound, UsageError
from skill_fleet.optimization.records.request import OptimizationRequest

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """The data of a run.

    Attributes:
        trainset: What was read.
        split: Train, validation and sealed test; with folds there is no test.
        folds: One split a fold, of all repeats; none without `--folds`.
        borrowed: Whether validation and sealed test come from another set than the training part.
    """

    trainset: Trainset
    split: Split
    folds: tuple[Split, ...] = ()
    borrowed: bool = False


def read_parts(request: OptimizationRequest, loaded: Loaded) -> Parts:
    """Read the data of a request and cut it.

    Raises:
        SkillFleetError: A file is missing or no training set, or there are too few groups.
    """
    trainset = _trainset(request, loaded)
    if request.folds is not None:
        if request.val_data or request.test_data or request.holdout:
            raise UsageError(
                "--folds tests every example of one training set; it excludes --val-data, --test-data and "
                "--holdout."
            )
        folds = folds_of(request, trainset)  # first: it asks for more groups, and says so
        split = split_without_test(trainset, seed=request.seed, min_groups=request.min_groups)
        return Parts(trainset, split, folds)
    if request.val_data is None and request.test_data is None:
        if request.training_paths and not request.holdout and _too_few(trainset, request):
            pool = load_trainset(loaded.workspace.trainset)
            found = borrowing_split(trainset, pool, seed=request.seed, min_groups=request.min_groups)
            return Parts(found.trainset, found.split, borrowed=True)
        split = split_trainset(
            trainset, seed=request.seed, min_groups=request.min_groups, holdout_groups=request.holdout
        )
        return Parts(trainset, split)
    if request.holdout:
        raise UsageError("--holdout excludes --val-data and --test-data: both name the held-out examples.")
    validation, test = (
        None if name is None else load_trainset(_resolved(name, loaded))
        for name in (request.val_data, request.test_data)
    )
    given = split_with(trainset, validation, test, seed=request.seed, min_groups=request.min_groups)
    return Parts(trainset, given)


def _too_few(trainset: Trainset, request: OptimizationRequest) -> bool:
    """Whether a set cannot be cut into three parts."""
    return len(units_of(trainset.items)) < max(len(PARTS), request.min_groups)


def folds_of(request: OptimizationRequest, trainset: Trainset) -> tuple[Split, ...]:
    """The folds a request asks for, none where it does not.

    Raises:
        DataError: There are too few groups.
    """
    if request.folds is None:
        return ()
    return fold_splits(
        trainset,
        folds=request.folds,
        repeats=request.repeats,
        seed=request.seed,
        min_groups=request.min_groups,
    )


def parts_to_json(split: Split) -> dict[str, Any]:
    """The three parts as they are kept with a run."""
    kept: dict[str, Any] = {}
    for part in PARTS:
        items = getattr(split, part)
        kept[part] = dump_trainset(Trainset(items, "", "")) if items else []
    return {**kept, "seed": split.seed, "digest": split.digest}


def parts_from_json(value: Mapping[str, Any], request: OptimizationRequest) -> Parts:
    """The parts of a run that was begun: folds are dealt as they were.

    Raises:
        IntegrityError: It is not what was written.
    """
    split = split_from_json(value)
    everything = (*split.train, *split.validation, *split.test)
    trainset = trainset_from(everything, source="the data of the run")
    return Parts(trainset, split, folds_of(request, trainset), bool(value.get("borrowed")))


def split_from_json(value: Mapping[str, Any]) -> Split:
    """The split that was kept with a run.

    Raises:
        IntegrityError: It is not what was written.
    """

    def items(part: str) -> tuple[Any, ...]:
        return trainset_of(value[part], source=part).items if value[part] else ()

    damaged = IntegrityError("The run's copy of its data is damaged.", hint="Start a new run.")
    try:
        split = split_of(items("train"), items("validation"), items("test"), int(value["seed"]))
        written = str(value["digest"])
    except (DataError, LookupError, TypeError, ValueError) as error:
        raise damaged from error
    if split.digest != written:
        raise damaged
    return split


def _trainset(request: OptimizationRequest, loaded: Loaded) -> Trainset:
    if request.trainset is not None:
        return trainset_of(list(request.trainset), source="as given in the request")
    if request.training_paths:
        return chosen_skills(loaded.workspace.skills, request.training_paths)
    if request.skills is not None:
        folder = _resolved(request.skills, loaded)
        if not folder.is_dir():
            raise NotFound(f"The skill library {folder} does not exist.")
        trainset, skipped = derive_trainset(folder, seed=0)
        if not trainset.items:
            raise DataError(
                f"No training example can be made of {folder}: {len(skipped)} skills were skipped."
            )
        return trainset
    return load_trainset(
        loaded.workspace.trainset if request.data is None else _resolved(request.data, loaded)
    )


def chosen_skills(root: Path, paths: Sequence[str]) -> Trainset:
    """The examples that skills of a library give, each with what it may see of the whole library.

    Args:
        root: The library.
        paths: Taxonomy paths; a folder is every skill below it.

    Raises:
        UsageError: One is not a taxonomy path.
        NotFound: There is no skill at or below one.
        DataError: What is there gives no example.
    """
    library = Library(root)
    chosen = {path: {file.relative_to(root).as_posix() for file in library.below(path)} for path in paths}
    whole, skipped = derive_trainset(root, seed=0)
    known = {str(item.fields["source"]) for item in whole.items}
    for path, files in chosen.items():
        if not files & known:
            why = next((one.reason for one in skipped if one.source in files), "it is no skill")
            raise DataError(f"No training example can be made of '{path}', because {why}.")
    wanted = set().union(*chosen.values())
    items = [item for item in whole.items if item.fields["source"] in wanted]
    return trainset_from(items, source=f"the training paths {', '.join(paths)}")


def _resolved(name: str, loaded: Loaded) -> Path:
    path = Path(name).expanduser()
    return path if path.is_absolute() or path.exists() else loaded.workspace.root / path
