"""What is known of the data before anything is spent: whether the test can show anything, and what could."""

from collections.abc import Iterator
from dataclasses import replace

from skill_fleet.domain.folds import split_without_test
from skill_fleet.domain.trainset import trainset_from
from skill_fleet.evaluation.statistics import alpha_for_read
from skill_fleet.foundation.errors import DataError
from skill_fleet.optimization.conclusions.foresight import ASSUMED_SD, foresee
from skill_fleet.optimization.conclusions.verdict import groups_needed
from skill_fleet.optimization.estimates.estimate import estimate
from skill_fleet.optimization.estimates.run_size import size_of_run
from skill_fleet.optimization.planning.parts import folds_of
from skill_fleet.optimization.planning.plan import Plan

SMALL_TEST = 70
HUGE_EFFECT = 0.2
ADVISED_FOLDS = 5
_SHOWN = 2


def data_warnings(plan: Plan, reading: int = 1) -> Iterator[tuple[str, str]]:
    """Code and message of each.

    Args:
        plan: The run.
        reading: The how-manieth reading of its test it would be.
    """
    yield from _of_findings(plan)
    if plan.borrowed:
        sizes = plan.sizes
        said = (
            f"The training paths give {_counted(sizes['train'], 'example')}, too few to be split: the "
            f"{sizes['validation']} validation and {sizes['test']} test examples are of the workspace's "
            "training set, without what is kin of them."
        )
        yield "borrowed_test_data", said
    groups = len({item.group for item in plan.tested})
    needed = groups_needed(alpha_for_read(reading))
    if plan.folds:
        if groups < needed:
            yield (
                "small_test_set",
                f"The data has {_independent(groups)}: fewer than {needed} cannot show a difference.",
            )
        return
    size = len(plan.split.test)
    if size < SMALL_TEST:
        yield "small_test_set", f"The sealed test has {size} examples; {SMALL_TEST} are advised."
    effect = foresee(plan.split.test, reading, ASSUMED_SD).effect
    if groups < needed:
        shown = f"fewer than {needed} cannot show a difference."
    elif effect is None or effect > HUGE_EFFECT:
        least = "none" if effect is None else f"about {effect:.2f} or more"
        shown = f"of differences that spread by {ASSUMED_SD:g} it would show {least}."
    else:
        return
    why = f"The sealed test has {_independent(groups)}: {shown}"
    yield "small_test_set", " ".join([why, *_advice(plan)])


def _independent(groups: int) -> str:
    return _counted(groups, "independent group")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _of_findings(plan: Plan) -> Iterator[tuple[str, str]]:
    """What is wrong with the data, a few of each kind: a library of hundreds has dozens of a kind."""
    by_code: dict[str, list[str]] = {}
    for finding in plan.findings:
        if finding.severity != "info":
            by_code.setdefault(finding.code, []).append(finding.message)
    for code, messages in by_code.items():
        yield from ((code, message) for message in messages[:_SHOWN])
        if len(messages) > _SHOWN:
            yield code, f"And {len(messages) - _SHOWN} more like these: skill-fleet dataset lint shows all."


def _advice(plan: Plan) -> Iterator[str]:
    """What would show more, and what it takes; nothing where it cannot be done."""
    folded = with_folds(plan, ADVISED_FOLDS)
    if folded is None:
        return
    # By the training examples of the run as asked: the folded plan's are also those of its sealed test.
    size = size_of_run(plan)
    here, there = (sum(estimate(one, size=size)["calls"]) for one in (plan, folded))
    times = "more calls"
    if here:
        many = round(there / here)
        times = "about as many calls" if many < 2 else f"about {many} times the calls"
    yield f"--folds {ADVISED_FOLDS} tests all {len(folded.tested)} examples, for {times}."


def with_folds(plan: Plan, folds: int) -> Plan | None:
    """The same run with K-fold; None where its data does not allow it."""
    asked = plan.request
    if asked.val_data or asked.test_data or asked.holdout or plan.borrowed:
        return None
    split = plan.split
    trainset = trainset_from((*split.train, *split.validation, *split.test), source="the data of the run")
    request = replace(asked, folds=folds, repeats=1)
    try:
        whole = split_without_test(trainset, seed=asked.seed, min_groups=asked.min_groups)
        return replace(plan, request=request, split=whole, folds=folds_of(request, trainset))
    except DataError:
        return None
