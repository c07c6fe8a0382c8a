"""One run from the preflight to the verdict, whatever stops it on the way."""

import math
from dataclasses import dataclass

import dspy

from skill_fleet.config.load import Loaded
from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.statistics import Comparison, alpha_for_read
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ProviderError, SkillFleetError
from skill_fleet.foundation.files import write_json, write_text
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.engine import Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import Connections
from skill_fleet.optimization.estimate import estimate
from skill_fleet.optimization.events import EventLog, Listener
from skill_fleet.optimization.foresight import reading_of
from skill_fleet.optimization.plan import Plan, save_plan
from skill_fleet.optimization.publish import Incumbent, decide, find_incumbent, keep_candidate, publish
from skill_fleet.optimization.report import render_report
from skill_fleet.optimization.result import RunResult
from skill_fleet.optimization.runs import RunFolder
from skill_fleet.optimization.session import Control, Session, open_session
from skill_fleet.optimization.stages import Baseline, Best, measure_baseline, measured, search_rounds
from skill_fleet.optimization.verdict import count_read, digest_of_test, judge

_SMALL_TEST = 70
_RESUMABLE = frozenset({"budget", "provider", "interrupted", "storage"})


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    Attributes:
        result: Its JSON result.
        error: Why it did not succeed, or None; its exit code is the command's.
    """

    result: RunResult
    error: SkillFleetError | None


def run(
    plan: Plan,
    folder: RunFolder,
    loaded: Loaded,
    *,
    listener: Listener | None = None,
    control: Control | None = None,
    clock: Clock = SYSTEM_CLOCK,
    connections: Connections | None = None,
    retry: Retry | None = None,
) -> Finished:
    """Run, or go on with, an optimization.

    Args:
        plan: Checked beforehand.
        folder: The run's own; one that has been begun is gone on with, and repeats no paid call.
        loaded: Settings and workspace.
        listener: Told what happens.
        control: The user's hand on it.
        clock: Time.
        connections: To the models; None opens them from the settings.
        retry: How passing failures are waited out.

    Raises:
        StorageError: The run's folder or the journal cannot be used, or another process holds the run.
        KeyMissing: A model's key is not in the environment.
    """
    with folder.locked():
        resumed = folder.request.exists()
        if not resumed:
            save_plan(plan, folder)
        session = open_session(
            plan,
            folder,
            loaded,
            EventLog(folder.events, clock, listener),
            clock=clock,
            control=control or Control(),
            connections=connections or Connections.of(loaded.environ),
            retry=retry or Retry(),
        )
        try:
            return _guarded(session, resumed=resumed)
        finally:
            session.drain()
            session.line.journal.close()


def _guarded(session: Session, *, resumed: bool) -> Finished:
    """The whole run, whatever ends it."""
    error: SkillFleetError | None = None
    try:
        session.emit("resumed" if resumed else "started", optimizer=session.result.optimizer)
        session.result.estimate = estimate(session.plan, reading=reading_of(session))
        halt = _stages(session)
        if halt is not None:
            error = _stopped(session, halt)
        else:
            session.result.status = "succeeded"
    except Halt as halted:
        error = _stopped(session, halted)
    except ProviderError as failed:
        error = _stopped(session, Halt("provider", failed))
    except SkillFleetError as failed:
        error = failed
        session.result.status = "failed"
        session.result.stop_reason = failed.code
    if error is not None:
        session.result.error = {"code": error.code, "message": error.message, "hint": error.hint}
    _finish(session)
    return Finished(session.result, error)


def _stages(session: Session) -> Halt | None:
    incumbent = find_incumbent(session)
    _warn_of_data(session)
    baseline = measure_baseline(session)
    hold = _held_for_test(session, baseline, incumbent)
    best, halt = search_rounds(session, baseline, hold)
    session.result.optimized["validation"] = best.measured.mean
    if best.from_round == 0 and halt is None:
        session.warn(
            "no_accepted_proposal",
            "The optimizer found nothing better on the validation set: often the metric or its feedback says "
            "too little.",
        )
    if halt is not None and halt.cause != "budget":
        # The run will be gone on with: the output stays as it is, the best so far is kept.
        keep_candidate(session, best.program)
        return halt
    try:
        _sealed_test(session, baseline, best, incumbent)
    except Halt as stopped:
        halt = halt or stopped
        if halt.cause != "budget":
            keep_candidate(session, best.program)
        else:
            _publish(session, baseline, best, incumbent, None, None)
    return halt


def _warn_of_data(session: Session) -> None:
    """What is known of the data before anything is spent."""
    for finding in session.plan.findings:
        if finding.severity != "info":
            session.warn(finding.code, finding.message)
    test = session.plan.split.test
    if len(test) < _SMALL_TEST:
        session.warn(
            "small_test_set", f"The sealed test has {len(test)} examples; {_SMALL_TEST} are advised."
        )
    groups = len({item.group for item in test})
    needed = math.ceil(1 - math.log2(alpha_for_read(1)))
    if groups < needed:
        session.warn(
            "small_test_set",
            f"The sealed test has {groups} independent groups: fewer than {needed} cannot show a difference.",
        )


def _held_for_test(session: Session, baseline: Baseline, incumbent: Incumbent | None) -> Limits:
    """What the search must leave for the sealed test: its calls at what a run of the program takes.

    Where that is half a cap or more nothing is held: a search without room is no search.
    """
    limits = session.account.limits
    programs = 2 if incumbent is None else 3
    runs = programs * len(session.plan.split.test)
    calls = math.ceil(runs * baseline.calls_per_run * 1.1)
    spent = session.line.journal.spent(session.folder.run_id)
    per_call = max(1, spent.settled)
    tokens = math.ceil(calls * 1.3 * (spent.input_tokens + spent.output_tokens) / per_call)
    usd = calls * 1.3 * spent.usd / per_call
    minutes = calls * 1.1 * session.account.elapsed() / 60 / max(1, spent.calls)
    held = Limits(usd=usd, calls=calls, tokens=tokens, minutes=minutes)
    kept: dict[str, float | int | None] = {}
    for name in ("usd", "calls", "tokens", "minutes"):
        cap, need = getattr(limits, name), getattr(held, name)
        if cap is not None and need * 2 >= cap:
            session.warn(
                "test_not_reserved",
                f"The cap on {name} is too small to set the sealed test aside ({need:g} of {cap:g}).",
            )
        kept[name] = need if cap is not None and need * 2 < cap else None
    return Limits(**kept)  # type: ignore[arg-type]


def _sealed_test(session: Session, baseline: Baseline, best: Best, incumbent: Incumbent | None) -> None:
    """Baseline, candidate and incumbent on the sealed test, then the verdict and what is published."""
    plan, result = session.plan, session.result
    examples = plan.examples("test")
    gate = session.gate()

    def on_test(program: dspy.Module) -> Measurement:
        found = measured(session, program, examples, gate, "sealed test")
        session.excluded |= {outcome.item_id for outcome in found.excluded}
        return found

    plain = on_test(baseline.program)
    _note_test(session, "baseline", plain)
    against_baseline = against_incumbent = None
    if best.from_round > 0:
        found = on_test(best.program)
        _note_test(session, "optimized", found)
        reads = result.test_reads = _counted_reading(session, best.program)
        against_baseline = judge(plain, found, reads=reads, seed=plan.request.seed)
        _note_comparison(session, against_baseline)
        if incumbent is not None:
            old = on_test(incumbent.program)
            against_incumbent = judge(old, found, reads=reads, seed=plan.request.seed)
            session.emit("incumbent", test=old.mean, verdict=against_incumbent.verdict)
    else:
        _note_test(session, "optimized", plain)
    _publish(session, baseline, best, incumbent, against_baseline, against_incumbent)


def _counted_reading(session: Session, candidate: dspy.Module) -> int:
    """The how-manieth program this is that is compared on this test set, warned of from the second on.

    The same settings ending in the same program read nothing new. A run that was stopped, tested and gone on
    with may end in another program, and that reads the test again.
    """
    plan = session.plan
    test = digest_of_test(plan.split.test)
    reader = digest([dict(plan.identity), program_hash(candidate)])
    reads = count_read(session.loaded.workspace.ledger, test, reader)
    if reads > 1:
        before = "once" if reads == 2 else f"{reads - 1} times"
        session.warn(
            "test_reused",
            f"This test set was read {before} before, so more is asked of a difference. To renew it: another "
            "--seed, or new examples.",
        )
    return reads


def _note_test(session: Session, which: str, found: Measurement) -> None:
    result = session.result
    target = session.loaded.settings.evaluation.thresholds.target
    (result.baseline if which == "baseline" else result.optimized)["test"] = found.mean
    result.accuracy[which] = found.pass_share(target)
    if found.excluded:
        session.warn(
            "examples_excluded", f"{len(found.excluded)} test examples of the {which} program have no score."
        )
    session.emit("test", program=which, mean=found.mean, excluded=len(found.excluded))


def _note_comparison(session: Session, comparison: Comparison) -> None:
    result = session.result
    result.verdict = comparison.verdict
    result.interval = [comparison.interval[0], comparison.interval[1]]
    result.p_value = comparison.p_value
    result.alpha = comparison.alpha
    result.method = comparison.method
    result.minimum_detectable_effect = comparison.minimum_detectable_effect


def _publish(
    session: Session,
    baseline: Baseline,
    best: Best,
    incumbent: Incumbent | None,
    against_baseline: Comparison | None,
    against_incumbent: Comparison | None,
) -> None:
    choice = decide(incumbent, against_baseline, against_incumbent)
    publish(session, choice, best.program, baseline.program)


def _stopped(session: Session, halt: Halt) -> SkillFleetError:
    spent = session.line.journal.spent(session.folder.run_id)
    result = session.result
    hopeless = halt.cause == "metric" or (halt.cause == "provider" and spent.settled == 0)
    result.status = "failed" if hopeless else "stopped"
    result.stop_reason = halt.cause
    if halt.cause in _RESUMABLE:
        result.resume = f"skill-fleet runs resume {result.run_id}"
    return halt.error


def _finish(session: Session) -> None:
    """Count what was spent, and write result and report."""
    session.drain()
    result, folder = session.result, session.folder
    spent = session.line.journal.spent(folder.run_id)
    result.calls = {
        "made": spent.calls,
        "from_journal": session.line.traffic.from_journal,
        "failed": spent.failed,
        "lost": spent.lost,
        "excluded": len(session.excluded),
        "by_phase": spent.by_phase,
        "by_model": spent.by_model,
    }
    result.tokens = {"input": spent.input_tokens, "output": spent.output_tokens}
    result.usd = None if spent.usd_unknown_calls else spent.usd
    result.usd_unknown_calls = spent.usd_unknown_calls
    result.seconds = round(session.account.elapsed(), 3)
    result.report = session.loaded.workspace.relative(folder.report)
    value = result.to_json()
    write_json(folder.result, value)
    write_text(folder.report, render_report(value))
    session.emit("finished", status=result.status, verdict=result.verdict, stop_reason=result.stop_reason)
