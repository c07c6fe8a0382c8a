"""One run from the preflight to the verdict, whatever stops it on the way."""

from dataclasses import asdict, dataclass

from skill_fleet.config.load import Loaded
from skill_fleet.evaluation.attempt import ended_by
from skill_fleet.evaluation.statistics import Comparison
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import ProviderError, SkillFleetError
from skill_fleet.foundation.files import write_json, write_text
from skill_fleet.llm.calls.bill import bill
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.store import Held
from skill_fleet.llm.models import Connections
from skill_fleet.optimization.advice.small_data import data_warnings
from skill_fleet.optimization.conclusions.foresight import reading_of, tell_power
from skill_fleet.optimization.ending.folds import run_folds
from skill_fleet.optimization.ending.publish import Incumbent, decide, find_incumbent, keep_candidate, publish
from skill_fleet.optimization.ending.report import render_report
from skill_fleet.optimization.ending.sealed import (
    held_for_test,
    note_choice,
    note_selection,
    sealed_test,
    warn_of_nothing,
)
from skill_fleet.optimization.estimates.price import price_of_run
from skill_fleet.optimization.planning.changes import RESUMED_OVER
from skill_fleet.optimization.planning.plan import Plan, save_plan
from skill_fleet.optimization.records.events import EventLog, Listener
from skill_fleet.optimization.records.result import RunResult
from skill_fleet.optimization.records.runs import RunFolder, save_identity
from skill_fleet.optimization.searching.canaries import try_metric
from skill_fleet.optimization.searching.rounds import Best, search_rounds
from skill_fleet.optimization.searching.stages import Baseline, measure_baseline
from skill_fleet.optimization.session import Control, MayWrite, Session, always, open_session

_RESUMABLE = frozenset({"budget", "provider", "interrupted", "storage", "lease", "environment"})


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    Attributes:
        result: Its JSON result.
        error: Why it did not succeed, or None; its exit code is the command's.
    """

    result: RunResult
    error: SkillFleetError | None


def run(  # noqa: PLR0913 - one value for each thing a run depends on
    plan: Plan,
    folder: RunFolder,
    loaded: Loaded,
    *,
    listener: Listener | None = None,
    control: Control | None = None,
    clock: Clock = SYSTEM_CLOCK,
    connections: Connections | None = None,
    retry: Retry | None = None,
    lease: Held | None = None,
    may_write: MayWrite = always,
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
        retry: How passing failures are waited out; None as the settings say.
        lease: The right to it, as a job of the service. Once another process has taken the job up, no further
            call is made, the result's `stop_reason` is `lease`, and it says nothing of the job.
        may_write: Asked right before what the run goes by is written down, a reading of the sealed test is
            counted, and the output is written; where it raises, the run is stopped.

    Raises:
        StorageError: The run's folder or the journal cannot be used, or another process holds the run.
        LeaseLost: Another process has taken the job up before it began.
        KeyMissing: A model's key is not in the environment.
    """
    calls = loaded.settings.calls
    with folder.locked():
        resumed = folder.request.exists()
        if not resumed:
            save_plan(plan, folder)
        elif plan.changes:
            save_identity(folder, {**plan.identity, RESUMED_OVER: list(plan.resumed_over)})
        session = open_session(
            plan,
            folder,
            loaded,
            EventLog(folder.events, clock, listener),
            clock=clock,
            control=control or Control(),
            connections=connections or Connections.of(loaded.environ, calls=calls, clock=clock),
            retry=retry or Retry.of(calls),
            lease=lease,
            may_write=may_write,
        )
        try:
            return _guarded(session, resumed=resumed)
        finally:
            session.drain()
            session.line.close()


def _guarded(session: Session, *, resumed: bool) -> Finished:
    """The whole run, whatever ends it."""
    error: SkillFleetError | None = None
    try:
        session.emit("resumed" if resumed else "started", optimizer=session.result.optimizer)
        session.result.estimate = price_of_run(session)
        halt = _stages(session)
        if halt is not None:
            error = _stopped(session, halt)
        else:
            session.result.status = "succeeded"
    except Halt as halted:
        error = _stopped(session, halted)
    except ProviderError as failed:
        error = _stopped(session, Halt("provider", failed))
    except SystemExit as left:  # of the program, in a search: where it is measured `attempt` sees it
        error = _stopped(session, ended_by(left))
    except SkillFleetError as failed:
        error = failed
        session.result.status = "failed"
        session.result.stop_reason = failed.code
    if error is not None:
        session.result.error = error.to_json()
    _finish(session)
    return Finished(session.result, error)


def _stages(session: Session) -> Halt | None:
    incumbent = find_incumbent(session)
    _warn_of_data(session)
    if session.plan.folds:
        return run_folds(session, incumbent)
    baseline = measure_baseline(session)
    tell_power(session, baseline.spread)
    hold = held_for_test(session, baseline, incumbent)
    best, pool, halt = search_rounds(session, baseline, hold)
    note_choice(session, baseline, best, pool)
    # Whatever comes now, the search was paid for.
    keep_candidate(session, best.program)
    if best.from_round == 0 and halt is None:
        warn_of_nothing(session)
    if halt is None:
        try_metric(session, baseline, best, hold)
    if halt is not None and halt.cause != "budget":
        return halt  # the run will be gone on with: the output stays as it is
    try:
        verdicts = sealed_test(session, baseline, best, incumbent)
        note_selection(session, pool)
        _publish(session, baseline, best, incumbent, *verdicts)
    except Halt as stopped:
        halt = halt or stopped
        if halt.cause == "budget":
            _publish(session, baseline, best, incumbent, None, None)
    return halt


def _warn_of_data(session: Session) -> None:
    """What is known of the data before anything is spent."""
    if session.plan.resumed_over:
        session.result.resumed_over = list(session.plan.resumed_over)
        session.warn(
            "resumed_over_changes",
            f"The run was resumed over changes: {'; '.join(session.plan.resumed_over)}. Its result is of "
            "what is there now; its data are those it began with.",
        )
    for code, message in data_warnings(session.plan, reading_of(session)):
        session.warn(code, message)


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
    hopeless = halt.cause in {"metric", "program"} or (halt.cause == "provider" and spent.settled == 0)
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
        "reused": session.line.journal.reused(folder.run_id),
        "failed": spent.failed,
        "lost": spent.lost,
        "possibly_billed": spent.possibly_billed,
        "without_usage": spent.without_usage,
        "excluded": len(session.excluded),
        "by_phase": spent.by_phase,
        "by_model": spent.by_model,
    }
    for name, value in bill(spent).items():
        setattr(result, name, value)
    result.by_phase = {phase: asdict(one) for phase, one in spent.phases.items()}
    result.seconds = round(session.account.elapsed(), 3)
    result.report = session.loaded.workspace.relative(folder.report)
    value = result.to_json()
    write_json(folder.result, value)
    write_text(folder.report, render_report(value))
    ended = {"status": result.status, "verdict": result.verdict, "stop_reason": result.stop_reason}
    session.emit("finished", **ended, error=result.error)
