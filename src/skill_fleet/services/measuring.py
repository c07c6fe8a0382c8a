"""Programs measured on one set of examples, with one model and one metric."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.core.dspy.examples import to_examples
from skill_fleet.core.programs.catalog import check_fields
from skill_fleet.domain.trainset import TrainingItem, load_trainset
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.runner import measure
from skill_fleet.foundation.errors import MetricError, ProgramError, ProviderError
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.planning.metrics import find_metric
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.optimization.selection import Prices
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.metered import metered, with_bill
from skill_fleet.services.programs import NamedProgram, load_program, run_request
from skill_fleet.services.seen import warnings_of_seen

OnDone = Callable[[int, int], None]
Given = tuple[str, Sequence[TrainingItem]]
_EVALUATION: Phase = "evaluation"
_JUDGE: Phase = "judge"


@dataclass(frozen=True)
class Measuring:
    """How a program is to be measured.

    Attributes:
        data: Examples; None is the workspace's training set.
        metric: `module:function`; None is the quality of a skill.
        model: In place of the configured one of `evaluation`.
        judge: In place of the configured one of `judge`, for a metric of one's own.
        num_threads: Examples under way at a time; None is the configured number.
        limits: Caps on it; None are the configured ones.
    """

    data: str | None = None
    metric: str | None = None
    model: str | None = None
    judge: str | None = None
    num_threads: int | None = None
    limits: Limits | None = None


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
        prices: Model string -> dollars per input and output token, None where unknown.
    """

    found: tuple[Measurement, ...]
    data: str
    items: tuple[TrainingItem, ...]
    metric: str
    model: str
    simulated: bool
    costs: Mapping[str, Any]
    prices: Prices


def evaluate_program(
    context: Context,
    program: str,
    how: Measuring,
    *,
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> dict[str, Any]:
    """A program on every example of a data set.

    Args:
        context: Settings and workspace.
        program: Its file, or the name of a program that is not optimized.
        how: With what.
        control: The user's hand on it.
        on_done: Told at the beginning and after each example: how many, of how many.

    Returns:
        `mean` and `pass_share` over the examples that have a score (null where none has), `parts` (their
        means), `excluded` with the reasons, `items`, `warnings` (`trained_on`), and what it cost.

    Raises:
        SkillFleetError: Program, data, metric or model cannot be used, or most examples failed.
    """
    loaded = load_program(context, program)
    measured = measure_programs(context, [loaded], how, control=control, on_done=on_done)
    found = measured.found[0]
    threshold = context.settings.evaluation.thresholds.target
    return {
        "program": loaded.label,
        "data": measured.data,
        "metric": measured.metric,
        "model": measured.model,
        "simulated": measured.simulated,
        "notes": list(loaded.notes),
        "warnings": warnings_of_seen(loaded, measured.items),
        "examples": len(found.outcomes),
        "mean": found.mean,
        "pass_share": found.pass_share(threshold),
        "threshold": threshold,
        "parts": _parts(found),
        "excluded": _excluded(found),
        "items": [
            {"id": one.item_id, "group": one.group, "score": one.score.value if one.score else None}
            for one in found.outcomes
        ],
        **measured.costs,
    }


def measure_programs(
    context: Context,
    programs: Sequence[NamedProgram],
    how: Measuring,
    *,
    given: Given | None = None,
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> Measured:
    """Several programs on the same examples, one after the other.

    Args:
        context: Settings and workspace.
        programs: Of one kind, so that one metric fits all.
        how: With what.
        given: The examples and where they are from; None reads them from `how.data`.
        control: The user's hand on it.
        on_done: Told when nothing known is wrong, then after each example, counted over all programs.

    Raises:
        SkillFleetError: Data, metric or model cannot be used, or most examples failed.
    """
    entry = programs[0].entry
    request = OptimizationRequest(program=entry.name, metric=how.metric)
    metric = find_metric(request, context.loaded, entry)
    source, examples_of = given or items_of(context, how)
    names = list(dict.fromkeys(name for item in examples_of for name in item.fields))
    examples = to_examples(examples_of, check_fields(entry, names, source))
    threads = how.num_threads or context.settings.optimization.num_threads
    limits = how.limits or Limits()
    total, done = len(examples) * len(programs), [0]

    if on_done is not None:
        on_done(0, total)  # all that can be known to be wrong is known

    def tell(*_: object) -> None:
        done[0] += 1
        if on_done is not None:
            on_done(done[0], total)

    # Only a metric of one's own may ask a model; the judge's key is not asked for without need.
    phases: tuple[Phase, ...] = (_EVALUATION,) if how.metric is None else (_EVALUATION, _JUDGE)
    with (
        metered(
            context,
            "evaluate",
            model=how.model,
            judge=how.judge,
            phases=phases,
            limits=limits,
            control=control,
            on_failure="raise",
        ) as model,
        dspy.context(disable_history=True),
    ):
        try:
            found = tuple(
                measure(
                    named.program,
                    examples,
                    Judged(metric, model.lms[_JUDGE]) if _JUDGE in model.lms else metric,
                    lm=model.lm,
                    num_threads=threads,
                    on_outcome=tell,
                    max_failed_share=context.settings.calls.max_failed_share,
                    clock=context.clock,
                )
                for named in programs
            )
        except (MetricError, ProgramError, ProviderError) as error:  # too many examples failed
            raise with_bill(error, model) from None
        costs, prices = model.costs(), model.prices()
    return Measured(
        found, source, tuple(examples_of), metric.name, model.name, model.simulated, costs, prices
    )


def as_the_run(how: Measuring, folder: RunFolder) -> Measuring:
    """With the metric and the models of a run, where no other is named."""
    request = run_request(folder)
    return replace(
        how,
        metric=how.metric or request.metric,
        model=how.model or request.models.get(_EVALUATION),
        judge=how.judge or request.models.get(_JUDGE),
    )


def items_of(context: Context, how: Measuring) -> Given:
    """The examples that are named, or the workspace's, and where they are from.

    Raises:
        SkillFleetError: They cannot be read.
    """
    path = context.workspace.trainset if how.data is None else context.path(how.data)
    trainset = load_trainset(path)
    return context.workspace.relative(path), trainset.items


def _parts(found: Measurement) -> dict[str, float]:
    """The mean of every part over the examples that have it."""
    values: dict[str, list[float]] = {}
    for one in found.outcomes:
        parts: Mapping[str, float] = one.score.parts if one.score else {}
        for name, value in parts.items():
            values.setdefault(name, []).append(value)
    return {name: math.fsum(numbers) / len(numbers) for name, numbers in values.items()}


def _excluded(found: Measurement) -> list[dict[str, Any]]:
    return [{"id": one.item_id, **asdict(one.no_score)} for one in found.excluded if one.no_score is not None]
