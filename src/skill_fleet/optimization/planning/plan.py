"""A run before it starts: all that can be known to be wrong is found here, before anything is spent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.config.load import Loaded
from skill_fleet.core.dspy.examples import to_examples
from skill_fleet.core.programs.catalog import ProgramEntry, check_fields, find_program
from skill_fleet.domain.lint import DataFinding, lint_trainset
from skill_fleet.domain.split import Split
from skill_fleet.domain.trainset import TrainingItem, Trainset
from skill_fleet.evaluation.score import Metric
from skill_fleet.foundation.errors import DataError, IntegrityError, UsageError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.models import PhaseModels, check_limits, phase_models
from skill_fleet.optimization.optimizer import Optimizer
from skill_fleet.optimization.planning.applicable import check_ranges
from skill_fleet.optimization.planning.changes import Change, changes_since, in_words, resumed_over
from skill_fleet.optimization.planning.identity import identity_of_run
from skill_fleet.optimization.planning.metrics import find_metric, taught
from skill_fleet.optimization.planning.output import check_incumbent, check_output, output_file
from skill_fleet.optimization.planning.parts import PARTS, parts_from_json, parts_to_json, read_parts
from skill_fleet.optimization.planning.rewarding import reward_of
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.optimization.registry import OptimizerRegistry, find_optimizer
from skill_fleet.optimization.search import resolve_predictors


@dataclass(frozen=True)
class Plan:
    """A run that can start.

    Attributes:
        request: As asked for.
        entry: The program.
        metric: What scores.
        optimizer: What searches.
        models: Which model each phase uses.
        split: The three parts of the data.
        inputs: Which fields of the data are the program's inputs.
        output: The file to publish to.
        findings: What is wrong with the data, short of making it unusable.
        identity: What decides the result, as digests.
        changes: What of it has changed since the run began, where it is gone on with all the same.
        resumed_over: All changes it was gone on with over so far, in words.
        reward: What judges an answer where no expected one is known, `module:function`; None where the
            optimizer asks for none.
        folds: The splits of repeated K-fold; none where there is one sealed test.
        borrowed: Whether validation and sealed test come from the workspace's training set, and only the
            training part from what was asked for.
    """

    request: OptimizationRequest
    entry: ProgramEntry
    metric: Metric
    optimizer: Optimizer
    models: PhaseModels
    split: Split
    inputs: tuple[str, ...]
    output: Path
    findings: tuple[DataFinding, ...]
    identity: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    resumed_over: tuple[str, ...] = ()
    reward: str | None = None
    folds: tuple[Split, ...] = ()
    borrowed: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples each part has; `borrowed`: how many of them are from another set, if any."""
        sizes = {part: len(getattr(self.split, part)) for part in PARTS}
        return sizes | ({"borrowed": sizes["validation"] + sizes["test"]} if self.borrowed else {})

    @property
    def tested(self) -> tuple[TrainingItem, ...]:
        """What the verdict rests on: the sealed test, or with folds every example."""
        if not self.folds:
            return self.split.test
        everything = (*self.split.train, *self.split.validation)
        return tuple(sorted(everything, key=lambda item: item.id))

    def of_fold(self, split: Split) -> "Plan":
        """The same run on the data of one fold; what it is taught comes from that fold's training part."""
        return replace(self, split=split, metric=taught(self.metric, split), folds=())

    def examples(self, part: str) -> list[dspy.Example]:
        """The examples of `train`, `validation` or `test`."""
        return to_examples(getattr(self.split, part), self.inputs)


def make_plan(
    request: OptimizationRequest, loaded: Loaded, registry: OptimizerRegistry | None = None
) -> Plan:
    """Check a request against everything that is known, and split its data.

    Args:
        request: As asked for.
        loaded: Settings and workspace.
        registry: The optimizers to choose from; None is those that are installed.

    Raises:
        SkillFleetError: Something is wrong; one sentence says what and where.
    """
    optimizer = find_optimizer(request.optimizer, registry)
    check_ranges(optimizer, request)
    entry = find_program(request.program, search=loaded.workspace.root)
    _check_modules(request, optimizer, entry)
    metric = find_metric(request, loaded, entry)
    reward = reward_of(request, entry, optimizer.info, loaded.workspace.root)
    models = phase_models(loaded, request.models)
    check_limits(models, request.limits)
    output = output_file(request, loaded)
    check_output(output, entry, loaded)
    parts = read_parts(request, loaded)
    trainset, split = parts.trainset, parts.split
    metric = taught(metric, split)
    names = list(dict.fromkeys(name for item in trainset.items for name in item.fields))
    inputs = check_fields(entry, names, trainset.source)
    _check_skill_data(entry, trainset)
    findings = tuple(f for f in lint_trainset(trainset) if entry.makes_skills or f.severity == "error")
    return Plan(
        request,
        entry,
        metric,
        optimizer,
        models,
        split,
        inputs,
        output,
        findings,
        identity_of_run(request, entry, metric, models, split, reward),
        reward=reward,
        folds=parts.folds,
        borrowed=parts.borrowed,
    )


def resumed_plan(
    folder: RunFolder, loaded: Loaded, request: OptimizationRequest, *, anyway: bool = False
) -> Plan:
    """The plan of a run that was interrupted, over the data it began with.

    Args:
        folder: The run.
        loaded: Settings and workspace.
        request: As the run was asked for; its caps may be others.
        anyway: Go on when something else than the data has changed: with what is there now.

    Raises:
        IntegrityError: Something that decides the result has changed since; the sentence names it.
        DataError: The program does not take the run's data any more.
        UnknownName: The program has no predictor of a name that the run is to optimize.
        NotFound: The run's folder is not complete.
    """
    kept = read_json(folder.data, what="run data")
    parts = parts_from_json(kept, request)
    split = parts.split
    entry = find_program(request.program, search=loaded.workspace.root)
    metric = taught(find_metric(request, loaded, entry), split)
    models = phase_models(loaded, request.models)
    check_limits(models, request.limits)
    optimizer = find_optimizer(request.optimizer)
    reward = reward_of(request, entry, optimizer.info, loaded.workspace.root)
    identity = identity_of_run(request, entry, metric, models, split, reward)
    before = read_json(folder.identity, what="run identity")
    changes = changes_since(before, identity)
    if any(change.name == "data" for change in changes):
        raise IntegrityError(
            f"The run {folder.run_id} cannot be resumed: its {folder.data.name} is not what it wrote there.",
            hint="Start a new run; calls whose prompts are still the same cost nothing.",
        )
    if changes and not anyway:
        raise IntegrityError(
            f"The run {folder.run_id} cannot be resumed: {in_words(changes)} since.",
            hint="Start a new run; calls whose prompts are still the same cost nothing. Or go on with what "
            f"is there now: skill-fleet runs resume {folder.run_id} --resume-anyway.",
        )
    inputs = tuple(kept["inputs"])
    if changes:
        _check_modules(request, optimizer, entry)
        names = dict.fromkeys(name for item in (*split.train, *split.test) for name in item.fields)
        inputs = check_fields(entry, tuple(names), f"The data of the run {folder.run_id}")
        check_incumbent(output_file(request, loaded), entry, loaded)
    return Plan(
        request,
        entry,
        metric,
        optimizer,
        models,
        split,
        inputs,
        output_file(request, loaded),
        (),
        identity,
        changes,
        resumed_over(before, changes),
        reward,
        parts.folds,
        parts.borrowed,
    )


def save_plan(plan: Plan, folder: RunFolder) -> None:
    """Write down what a resume needs.

    Raises:
        StorageError: A file cannot be written.
    """
    borrowed = {"borrowed": True} if plan.borrowed else {}
    write_json(folder.data, {**parts_to_json(plan.split), "inputs": list(plan.inputs), **borrowed})
    write_json(folder.identity, dict(plan.identity))
    write_json(folder.request, plan.request.to_json())


def _check_modules(request: OptimizationRequest, optimizer: Optimizer, entry: ProgramEntry) -> None:
    """The predictors named are there, and the optimizer can be kept to some."""
    if request.modules and not optimizer.info.capabilities.modules:
        raise UsageError(
            f"--module says nothing to {optimizer.info.name}: it runs the whole program several times."
        )
    resolve_predictors(entry.build(), request.modules)


def _check_skill_data(entry: ProgramEntry, trainset: Trainset) -> None:
    """The skill program's items need a task, and its metric something to agree with."""
    if not entry.makes_skills:
        return
    for item in trainset.items:
        if "task_description" not in item.fields:
            raise DataError(f"{trainset.source}: the item '{item.id}' has no task_description.")
