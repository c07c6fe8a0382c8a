"""The stages of a run before its verdict: preflight, baseline, rounds."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dspy

from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.evaluation.measurement import Measurement, Outcome, identity_of, paired
from skill_fleet.evaluation.runner import measure
from skill_fleet.foundation.errors import MetricError, NoSignal, ProgramError, SkillFleetError
from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.estimate import effort_of
from skill_fleet.optimization.foresight import tell_power
from skill_fleet.optimization.search import Search, Tracker, focused, unfocused
from skill_fleet.optimization.session import Session, quiet, throttled

_PREFLIGHT_EXAMPLES = 3
_SAME = 1e-9
# DSPy keeps the last 10,000 calls of everybody in memory otherwise; a run of a program makes far fewer.
SPARING = {"disable_history": True, "max_trace_size": 1000}
_logger = logging.getLogger("dspy")


@dataclass(frozen=True)
class Baseline:
    """The program as it is, on the examples that have a score.

    Attributes:
        program: As it is.
        train: Training examples to search with.
        validation: Validation examples to choose by.
        measured: On those validation examples.
        demo_threshold: Quality from which an own answer may serve as a demonstration.
        calls_per_run: Most model calls one run of the program took, on average over the examples.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    validation: Sequence[dspy.Example]
    measured: Measurement
    demo_threshold: float
    calls_per_run: float


@dataclass(frozen=True)
class Best:
    """The best program so far and its measurement on the validation set."""

    program: dspy.Module
    measured: Measurement
    from_round: int


def measure_baseline(session: Session) -> Baseline:
    """Preflight on a few examples, then the baseline on train and validation.

    Examples that fail for good are set aside here, once: a search cannot tell a failure from a bad score.

    Raises:
        Halt: A cap is reached, or no call can succeed.
        ProviderError: Most examples fail.
        MetricError: The metric breaks on an answer.
        NoSignal: The metric says the same of every example.
    """
    plan = session.plan
    gate = session.gate()
    program = plan.entry.build()
    train, validation = plan.examples("train"), plan.examples("validation")
    session.progress(stage="preflight", done=0, total=_PREFLIGHT_EXAMPLES)
    tried = measured(session, program, train[:_PREFLIGHT_EXAMPLES], gate, "preflight", num_threads=1)
    _require_scores(tried)
    session.emit("preflight", examples=min(_PREFLIGHT_EXAMPLES, len(train)))
    aside = set(_set_aside(session) or ())
    train, validation = _without(train, aside), _without(validation, aside)
    before = session.line.traffic.made + session.line.traffic.from_journal
    found = measured(session, program, [*train, *validation], gate, "baseline")
    _require_scores(found)
    calls = session.line.traffic.made + session.line.traffic.from_journal - before
    if _set_aside(session) is None:
        failed = [outcome.item_id for outcome in found.excluded]
        write_json(session.folder.set_aside, failed)
        train, validation = _without(train, set(failed)), _without(validation, set(failed))
        aside = set(failed)
    session.excluded |= aside
    if aside:
        session.warn("examples_excluded", f"{len(aside)} examples failed for good and were set aside.")
    _require_signal(found)
    ids = {identity_of(example)[0] for example in validation}
    on_validation = Measurement(tuple(o for o in found.outcomes if o.item_id in ids))
    session.result.baseline["validation"] = on_validation.mean
    session.emit("baseline", validation=on_validation.mean, examples=len(on_validation.outcomes))
    tell_power(session, found)
    scores = [o.score.value for o in found.outcomes if o.score is not None and o.item_id not in ids]
    target = session.loaded.settings.evaluation.thresholds.target
    return Baseline(
        program,
        train,
        validation,
        on_validation,
        demo_threshold(scores, target),
        calls / max(1, len(found.outcomes)),
    )


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

    with dspy.context(**SPARING):
        return measure(
            program,
            examples,
            session.plan.metric,
            lm=session.lms(gate, "raise")["evaluation"],
            num_threads=num_threads or session.plan.request.num_threads,
            on_outcome=tell,
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


def search_rounds(session: Session, baseline: Baseline, hold: Limits) -> tuple[Best, Halt | None]:
    """Round after round from the best so far, until one gains nothing.

    Args:
        session: The run.
        baseline: Where to start.
        hold: What the sealed test was promised.

    Returns:
        The best program, and why the search was stopped before its end, if it was.
    """
    best = Best(baseline.program, baseline.measured, 0)
    for number in range(1, session.plan.request.rounds + 1):
        started = session.clock.monotonic()
        made = session.line.traffic.made
        session.progress(stage="search", round=number, rollouts=0)
        candidate, halt = _search(session, baseline, best, number, hold)
        found, halt = _measured_candidate(session, baseline, candidate, halt, hold)
        gained = found is not None and _better(best.measured, found)
        if candidate is not None and found is not None and gained:
            best = Best(candidate, found, number)
        _note_round(session, number, found, best, session.clock.monotonic() - started, made)
        if halt is not None:
            return best, halt
        if not gained:
            break
    return best, None


def _search(
    session: Session, baseline: Baseline, best: Best, number: int, hold: Limits
) -> tuple[dspy.Module | None, Halt | None]:
    plan = session.plan
    gate = session.gate(hold)
    lms = session.lms(gate, "halt")
    tracker = Tracker([identity_of(example)[0] for example in baseline.validation])
    rollouts = [0]
    show = throttled(lambda: session.progress(stage="search", round=number, rollouts=rollouts[0]))

    def on_rollout() -> None:
        rollouts[0] += 1
        show()

    halt: Halt | None = None
    found: dspy.Module | None = None
    with focused(best.program, plan.request.modules) as student:
        search = Search(
            student,
            baseline.train,
            baseline.validation,
            plan.metric,
            lms,
            effort_of(plan),
            plan.request.seed + 1000 * (number - 1),
            baseline.demo_threshold,
            on_rollout,
        )
        settings = {"lm": lms["evaluation"], "callbacks": [tracker], **SPARING}
        try:
            with quiet(session.folder), dspy.context(**settings, max_errors=10**9):
                found = plan.optimizer.improve(search)
        except Halt as stopped:
            halt = gate.close(stopped)
        except SkillFleetError:
            raise
        except Exception as error:
            # With the gate closed, whatever an optimizer raises is the echo of the Halt it swallowed.
            if gate.closed is None:
                raise ProgramError(
                    f"The optimizer {plan.optimizer.info.name} failed: {type(error).__name__}: {error}.",
                    hint=f"Its own words are in {session.folder.optimizer_log}.",
                ) from error
            halt = gate.closed
        session.drain()
        halt = halt or gate.closed
        # Without what optimizers hang on a program: each candidate of the round, copied with every copy.
        state = tracker.best() if found is None else clean_state(found)
        if state is not None:
            found = student.deepcopy()
            found.load_state(state)
    return (None if found is None else unfocused(found, type(best.program))), halt


def _measured_candidate(
    session: Session, baseline: Baseline, candidate: dspy.Module | None, halt: Halt | None, hold: Limits
) -> tuple[Measurement | None, Halt | None]:
    """The candidate on the validation set; after a halt from what is journaled already, if that suffices."""
    if candidate is None:
        return None, halt
    gate = session.gate(hold) if halt is None else _replay_gate(session)
    try:
        return measured(session, candidate, baseline.validation, gate, "validation"), halt
    except Halt as stopped:
        return None, halt or stopped


def _replay_gate(session: Session) -> Gate:
    """A door that lets no paid call through: only journaled answers can be read."""
    spent_all = replace(session.account.limits, calls=0)
    gate = Gate(session.account)
    gate.ceiling = spent_all
    return gate


def _better(best: Measurement, found: Measurement) -> bool:
    a, b, _ = paired(best, found)
    return bool(a) and math.fsum(b) / len(b) > math.fsum(a) / len(a) + _SAME


def _note_round(
    session: Session, number: int, found: Measurement | None, best: Best, seconds: float, made: int
) -> None:
    instructions = {name: p.signature.instructions for name, p in best.program.named_predictors()}
    line = {
        "round": number,
        "score": None if found is None else found.mean,
        "best": best.measured.mean,
        "seconds": round(seconds, 3),
        "calls": session.line.traffic.made - made,
        "usd": session.line.journal.spent(session.folder.run_id).usd,
        "instructions": instructions,
    }
    session.result.rounds.append(line)
    score = "none" if line["score"] is None else f"{line['score']:.3f}"
    _logger.info("Round %d: score=%s", number, score)
    _logger.info("Best instructions: %s", instructions)
    session.emit("round", **{key: value for key, value in line.items() if key != "instructions"})
    limit = session.loaded.settings.evaluation.targets.round_minutes
    if seconds > limit * 60:
        session.warn("slow_round", f"Round {number} took {seconds / 60:.1f} min; the target is {limit:g}.")


def _require_scores(found: Measurement) -> None:
    """A metric that breaks on some answers would choose which examples count: none is set aside for it."""
    missing = [outcome.no_score for outcome in found.outcomes if outcome.no_score is not None]
    broken = [failure.message for failure in missing if failure.reason == "metric_error"]
    if broken:
        raise MetricError(
            f"The metric broke on {len(broken)} of {len(found.outcomes)} examples, like this: {broken[0]}",
            hint="A metric gives every answer, also a wrong one, a number in [0, 1].",
        )


def _require_signal(found: Measurement) -> None:
    values = list(found.scores().values())
    if len(values) > 1 and max(values) - min(values) <= _SAME:
        raise NoSignal(
            f"The metric gives {values[0]:g} to all {len(values)} examples: nothing can be learnt from it.",
            hint="Check the metric on a good and on a bad answer.",
        )


def _set_aside(session: Session) -> list[str] | None:
    path = session.folder.set_aside
    return read_json(path, what="list of examples set aside") if path.exists() else None


def _without(examples: Sequence[dspy.Example], ids: set[str]) -> list[dspy.Example]:
    return [example for example in examples if identity_of(example)[0] not in ids]
