"""The stages of a run before its verdict: preflight, baseline, rounds."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dspy

from skill_fleet.core.programs.recipes.sampled import Sampled
from skill_fleet.evaluation.course import most_of
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import Measurement, Outcome, identity_of
from skill_fleet.evaluation.runner import measure, too_many_failed
from skill_fleet.foundation.errors import DataError, MetricError, NoSignal
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.budget import Gate
from skill_fleet.optimization.conclusions.foresight import spread
from skill_fleet.optimization.ownership import require_own
from skill_fleet.optimization.searching.pace import Pace, Watch, known_pace, note_pace
from skill_fleet.optimization.session import Session

_PREFLIGHT_EXAMPLES = 3
SAME = 1e-9
# DSPy keeps the last 10,000 calls of everybody in memory otherwise; a run of a program makes far fewer.
SPARING = {"disable_history": True, "max_trace_size": 1000}


@dataclass(frozen=True)
class Baseline:
    """The program as it is, on the examples that have a score.

    Attributes:
        program: As it is.
        train: Training examples to search with.
        validation: Validation examples to choose by.
        measured: On those validation examples.
        demo_threshold: Quality from which an own answer may serve as a demonstration.
        pace: What a run of the program and a call took.
        spread: To assume of differences between programs: see `foresight`.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    validation: Sequence[dspy.Example]
    measured: Measurement
    demo_threshold: float
    pace: Pace
    spread: float | None


def measure_baseline(session: Session) -> Baseline:
    """Preflight on a few examples, then the baseline on train and validation.

    Examples that fail for good are set aside here, once: a search cannot tell a failure from a bad score.

    Raises:
        Halt: A cap is reached, or no call can succeed; or the run is not this process's any more.
        ProviderError: Most examples fail, of all or of one set.
        ProgramError: The same, because of the program.
        DataError: What an earlier process of the run wrote down was edited, or leaves a set empty.
        MetricError: The metric breaks on an answer.
        NoSignal: The metric says the same of every example.
    """
    plan = session.plan
    gate = session.gate()
    program = plan.entry.build()
    train, validation = plan.examples("train"), plan.examples("validation")
    tried = measured(session, program, train[:_PREFLIGHT_EXAMPLES], gate, "preflight", num_threads=1)
    require_scores(tried)
    if plan.reward is not None:
        _try_reward(session, program, plan.reward, train[:_PREFLIGHT_EXAMPLES], gate)
    session.emit("preflight", examples=min(_PREFLIGHT_EXAMPLES, len(train)))
    known, pace = _set_aside(session), known_pace(session)
    train, validation = _without(train, known or ()), _without(validation, known or ())
    _require_examples(session, train, validation)
    watch = Watch(session)
    found = measured(session, program, [*train, *validation], gate, "baseline")
    require_scores(found)
    for what, examples in (("training", train), ("validation", validation)):
        _require_most(session, found, what, examples)
    aside = [outcome.item_id for outcome in found.excluded] if known is None else known
    if known is None or pace is None:
        pace = pace or watch.pace(len(found.outcomes))
        _note(session, aside, pace)
    train, validation = _without(train, aside), _without(validation, aside)
    session.excluded |= set(aside)
    if aside:
        session.warn("examples_excluded", f"{len(aside)} examples failed for good and were set aside.")
    _require_signal(found)
    ids = {identity_of(example)[0] for example in validation}
    on_validation = Measurement(tuple(o for o in found.outcomes if o.item_id in ids))
    session.result.baseline["validation"] = on_validation.mean
    session.emit("baseline", validation=on_validation.mean, examples=len(on_validation.outcomes))
    scores = [o.score.value for o in found.outcomes if o.score is not None and o.item_id not in ids]
    target = session.loaded.settings.evaluation.thresholds.target
    return Baseline(
        program,
        train,
        validation,
        on_validation,
        demo_threshold(scores, target),
        pace,
        spread(found),
    )


def _try_reward(
    session: Session, program: dspy.Module, reward: str, examples: Sequence[dspy.Example], gate: Gate
) -> None:
    """The reward on the answers of the preflight, which are in the journal by now.

    Raises:
        MetricError: It breaks on one of them.
    """
    once = Sampled("best_of_n", program, n=1, reward=reward)
    tried = measured(session, once, examples, gate, "preflight", num_threads=1)
    require_scores(tried, "reward")


def measured(
    session: Session,
    program: dspy.Module,
    examples: Sequence[dspy.Example],
    gate: Gate,
    stage: str,
    *,
    num_threads: int | None = None,
) -> Measurement:
    """Our own measurement of a program: failures are missing data, and progress is shown."""

    def tell(done: int, total: int, _outcome: Outcome) -> None:
        session.progress(stage=stage, done=done, total=total)

    session.progress(stage=stage, done=0, total=len(examples))
    lms = session.lms(gate, "raise")
    with dspy.context(**SPARING):
        return measure(
            program,
            examples,
            Judged(session.plan.metric, lms["judge"]),
            lm=lms["evaluation"],
            num_threads=num_threads or session.plan.request.num_threads,
            on_outcome=tell,
            max_failed_share=session.loaded.settings.calls.max_failed_share,
            clock=session.clock,
        )


def demo_threshold(scores: Sequence[float], target: float) -> float:
    """Quality from which an own answer may serve as a demonstration.

    The target, or the upper quartile of what the program reaches where that is lower, so that there is
    something to show; never 0.
    """
    if not scores:
        return target
    ordered = sorted(scores)
    quartile = ordered[math.ceil(0.75 * len(ordered)) - 1]
    positive = [score for score in ordered if score > 0]
    return min(target, quartile if quartile > 0 else positive[0] if positive else target)


def require_scores(found: Measurement, what: str = "metric") -> None:
    """A metric that breaks on some answers would choose which examples count: none is set aside for it."""
    missing = [outcome.no_score for outcome in found.outcomes if outcome.no_score is not None]
    broken = [failure.message for failure in missing if failure.reason == "metric_error"]
    if broken:
        raise MetricError(
            f"The {what} broke on {len(broken)} of {len(found.outcomes)} examples, like this: {broken[0]}",
            hint=f"A {what} gives every answer, also a wrong one, a number in [0, 1].",
        )


def _require_signal(found: Measurement) -> None:
    values = list(found.scores().values())
    if len(values) > 1 and max(values) - min(values) <= SAME:
        raise NoSignal(
            f"The metric gives {values[0]:g} to all {len(values)} examples: nothing can be learnt from it.",
            hint="Check the metric on a good and on a bad answer.",
        )


def _require_most(session: Session, found: Measurement, what: str, examples: Sequence[dspy.Example]) -> None:
    """Of each set by itself enough must be left: a small one may be lost whole within the share of both.

    Nothing is written down of it, so that a resumed run asks again.
    """
    ids = {identity_of(example)[0] for example in examples}
    failed = [one.no_score for one in found.excluded if one.item_id in ids and one.no_score is not None]
    most = min(most_of(session.loaded.settings.calls.max_failed_share, len(examples)), len(examples) - 1)
    if failed and len(failed) > most:
        raise too_many_failed(failed, len(examples), len(examples), f"{what} examples")


def _require_examples(
    session: Session, train: Sequence[dspy.Example], validation: Sequence[dspy.Example]
) -> None:
    """What was set aside by an earlier process must have left something of each set."""
    split = session.plan.split
    for what, before, left in (
        ("training", split.train, train),
        ("validation", split.validation, validation),
    ):
        if before and not left:
            raise DataError(
                f"All {len(before)} {what} examples were set aside before the search, by "
                f"{session.folder.set_aside}: nothing is left to search with.",
                hint="Without that file a resumed run finds out again which examples fail.",
            )


def _set_aside(session: Session) -> list[str] | None:
    path = session.folder.set_aside
    return read_json(path, what="list of examples set aside") if path.exists() else None


def _note(session: Session, aside: Sequence[str], pace: Pace) -> None:
    """Write down what the whole run goes by, whoever goes on with it.

    Raises:
        Halt: The run is not this process's any more, or nobody can say so: nothing is written.
    """
    require_own(session)
    note_pace(session, pace)
    write_json(session.folder.set_aside, list(aside))


def _without(examples: Sequence[dspy.Example], ids: Collection[str]) -> list[dspy.Example]:
    return [example for example in examples if identity_of(example)[0] not in ids]
