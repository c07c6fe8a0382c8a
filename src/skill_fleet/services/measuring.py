"""Programs by what a user calls them, measured on one set of examples with one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.core.dspy.examples import to_examples
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import ProgramEntry, check_fields, find_program, program_hash
from skill_fleet.domain.trainset import TrainingItem, load_trainset
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.runner import measure
from skill_fleet.foundation.errors import DataError, NotFound, UsageError
from skill_fleet.foundation.files import read_json
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.plan import find_metric, split_from_json
from skill_fleet.optimization.request import OptimizationRequest
from skill_fleet.optimization.runs import RunFolder, find_run, list_runs
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.metered import metered

if TYPE_CHECKING:
    from skill_fleet.services.evaluation import Measuring, OnDone

_EVALUATION: Phase = "evaluation"


@dataclass(frozen=True)
class NamedProgram:
    """A program that can be measured.

    Attributes:
        label: As the user called it.
        program: Ready to run.
        entry: How a fresh one is built.
        hash: Of what optimization changes.
        run: The run that made it, where that is here.
        notes: What is not as it was when it was saved.
    """

    label: str
    program: dspy.Module
    entry: ProgramEntry
    hash: str
    run: RunFolder | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Programs on the same examples.

    Attributes:
        found: One a program.
        data: Where the examples are from.
        items: The examples.
        metric: What scored.
        model: What ran the programs.
        simulated: Whether that is the offline model.
        costs: Calls, tokens, dollars.
    """

    found: tuple[Measurement, ...]
    data: str
    items: tuple[TrainingItem, ...]
    metric: str
    model: str
    simulated: bool
    costs: Mapping[str, Any]


def load_program(context: Context, name: str) -> NamedProgram:
    """A program by its file, by the run that made it, or by its name (then it is not optimized).

    Raises:
        NotFound: It is none of these, or the run has no program yet.
        DataError: The file is not a program's state.
        IntegrityError: The file is not the one its manifest describes.
    """
    path = context.path(name)
    if path.is_file() or name.endswith(".json"):
        return _from_file(context, name, path, None)
    if ":" in name or name.isidentifier():
        entry = find_program(name, search=context.workspace.root)
        program = entry.build()
        return NamedProgram(name, program, entry, program_hash(program), None)
    folder = find_run(context.workspace.runs, name)
    if not folder.candidate.exists():
        hint = f"Go on with it: skill-fleet runs resume {folder.run_id}."
        raise NotFound(f"The run {folder.run_id} has no program yet.", hint=hint)
    return _from_file(context, folder.run_id, folder.candidate, folder)


def measure_programs(
    context: Context,
    programs: Sequence[NamedProgram],
    how: "Measuring",
    *,
    items: Sequence[TrainingItem] | None = None,
    control: Control | None = None,
    on_done: "OnDone | None" = None,
) -> Measured:
    """Several programs on the same examples, one after the other.

    Args:
        context: Settings and workspace.
        programs: Of one kind, so that one metric fits all.
        how: With what.
        items: The examples, where they are not to be read from `how.data`.
        control: The user's hand on it.
        on_done: Told after each example, counted over all programs.

    Raises:
        SkillFleetError: Data, metric or model cannot be used, or most examples failed.
    """
    entry = programs[0].entry
    request = OptimizationRequest(program=entry.name, metric=how.metric)
    metric = find_metric(request, context.loaded, entry)
    source, examples_of = _items(context, how, items)
    names = list(dict.fromkeys(name for item in examples_of for name in item.fields))
    examples = to_examples(examples_of, check_fields(entry, names, source))
    threads = how.num_threads or context.settings.optimization.num_threads
    limits = how.limits or Limits()
    total, done = len(examples) * len(programs), [0]

    def tell(*_: object) -> None:
        done[0] += 1
        if on_done is not None:
            on_done(done[0], total)

    with (
        metered(
            context, "evaluate", model=how.model, limits=limits, control=control, on_failure="raise"
        ) as model,
        dspy.context(disable_history=True),
    ):
        found = tuple(
            measure(
                named.program,
                examples,
                metric,
                lm=model.lm,
                num_threads=threads,
                on_outcome=tell,
                clock=context.clock,
            )
            for named in programs
        )
        costs = model.costs()
    return Measured(found, source, tuple(examples_of), metric.name, model.name, model.simulated, costs)


def sealed_test(folder: RunFolder) -> tuple[TrainingItem, ...]:
    """The examples of a run's sealed test.

    Raises:
        NotFound: The run's folder is not complete.
    """
    return split_from_json(read_json(folder.data, what="run data")).test


def run_request(folder: RunFolder) -> OptimizationRequest:
    """What was asked of a run.

    Raises:
        DataError: The request cannot be read.
    """
    return OptimizationRequest.from_json(read_json(folder.request, what="run request"))


def as_the_run(how: "Measuring", folder: RunFolder) -> "Measuring":
    """With the metric and the model of a run, where no other is named."""
    request = run_request(folder)
    return replace(
        how, metric=how.metric or request.metric, model=how.model or request.models.get(_EVALUATION)
    )


def _from_file(context: Context, label: str, path: Path, folder: RunFolder | None) -> NamedProgram:
    loaded = load_artifact(path, search=context.workspace.root)
    made_by = loaded.manifest.run_id if loaded.manifest else None
    if folder is None and made_by is not None:
        folder = next((run for run in list_runs(context.workspace.runs) if run.run_id == made_by), None)
    return NamedProgram(
        label, loaded.program, loaded.entry, program_hash(loaded.program), folder, loaded.differences
    )


def _items(
    context: Context, how: "Measuring", items: Sequence[TrainingItem] | None
) -> tuple[str, Sequence[TrainingItem]]:
    if items is not None:
        return "the sealed test", items
    path = context.workspace.trainset if how.data is None else context.path(how.data)
    trainset = load_trainset(path)
    return context.workspace.relative(path), trainset.items


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
            "Neither program is from a run of this workspace, so there is no sealed test.",
            hint="Name the examples: --data FILE.",
        )
    tests = [sealed_test(folder) for folder in folders]
    if any(test != tests[0] for test in tests[1:]):
        raise DataError(
            "The two runs do not have the same sealed test.", hint="Name the examples: --data FILE."
        )
    return tests[0]
