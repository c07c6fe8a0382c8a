"""The work of a job that optimizes, in its own process: from where an earlier one left it to its end."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from skill_fleet.core.programs.artifact import copy_artifact
from skill_fleet.core.programs.history import exclusive
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import Interrupted, LeaseLost, StorageError
from skill_fleet.foundation.files import read_json
from skill_fleet.jobs.child import Child
from skill_fleet.jobs.records import Job
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.planning.plan import Plan, resumed_plan
from skill_fleet.optimization.records.events import Event, read_events
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.optimization.session import Control, quiet
from skill_fleet.services.context import Context
from skill_fleet.services.job_ending import Ended, ended_with
from skill_fleet.services.job_limits import limits_of_job
from skill_fleet.services.job_progress import RunProgress
from skill_fleet.services.job_requests import optimization_asked
from skill_fleet.services.job_words import told
from skill_fleet.services.optimization import (
    Prepared,
    begin,
    prepare_optimization,
    request_of,
    start_optimization,
)

_LOCK_PATIENCE = 180.0
_GLANCE = 0.05
_LOCKED = "Waiting for an earlier process of this job to end."
_FINAL = frozenset({"succeeded", "failed"})


def optimize(context: Context, job: Job, child: Child) -> Ended:
    """Optimize a program: begun, or gone on with where an earlier process of the job left it.

    Args:
        context: Settings and workspace.
        job: What to do.
        child: Told how it goes; it has the job's lease.

    Raises:
        LeaseLost: Somebody else has the job.
        SkillFleetError: It cannot be begun, or not be gone on with.
    """
    folder = RunFolder(context.workspace.runs / job.job_id)
    new_here = _take_over(folder, child, context)
    earlier = _ended_before(context, folder)
    if earlier is not None:
        return _ended(job, earlier, child)
    context, request = _request(context, job, child)
    prepared = _prepared(context, request, folder)
    if new_here and folder.incumbent.exists():
        _bring(folder.incumbent, prepared.plan.output, context, child)
    control = Control()
    child.on_stop(control.interrupt)
    begin(context, prepared)
    listener = _Listener(child, prepared.plan, folder)
    with quiet(folder):
        finished = start_optimization(
            context, prepared, folder, listener=listener, control=control, may_write=child.write
        )
    return _ended(job, finished.result.to_json(), child)


def _take_over(folder: RunFolder, child: Child, context: Context) -> bool:
    """The run's folder as it is to be gone on with; whether this workspace did not know the run.

    Raises:
        LeaseLost: Somebody else has the job.
        Interrupted: The job is to stop.
        StorageError: Another process of the job does not end.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The run folder {folder.path} cannot be made: {error.strerror}.") from error
    _wait_for_earlier(folder, child, context.clock)
    new_here = not folder.request.exists()
    child.restore(folder.path)
    child.keep(folder.path)
    _tell_missed(folder, child)
    return new_here


def _wait_for_earlier(folder: RunFolder, child: Child, clock: Clock) -> None:
    """Until no earlier process of the job holds its run: one that lost it may stand still, or be ending.

    Raises:
        LeaseLost, Interrupted, StorageError: As of `_take_over`.
    """
    until = clock.monotonic() + _LOCK_PATIENCE
    while folder.is_locked():
        child.show(0.0, _LOCKED)
        if child.lost:
            raise LeaseLost(f"The job {folder.run_id} was taken up by another worker.")
        if child.reason is not None:
            raise Interrupted("The job was to stop before an earlier process of it had ended.")
        if clock.monotonic() > until:
            raise StorageError(
                f"{_LOCKED} It did not, for {_LOCK_PATIENCE:.0f} s.",
                hint="Resume the job when that process has ended; one that stands still must be killed.",
                code="locked",
            )
        clock.sleep(_GLANCE)


def _bring(incumbent: Path, output: Path, context: Context, child: Child) -> None:
    """Put what the run is measured against, which came along, where nothing is.

    Raises:
        LeaseLost: Somebody else has the job.
        StorageError: It cannot be written, or the store does not answer.
    """
    with exclusive(context.workspace.state):
        if not output.exists():
            child.write()
            copy_artifact(incumbent, output)


def _tell_missed(folder: RunFolder, child: Child) -> None:
    """What a process that was killed had written down and not yet told."""
    told = {(event.data.get("n"), event.data.get("happened_at")) for event in child.told()}
    for line in read_events(folder.events):
        number, at, kind = (line.pop(name, None) for name in ("n", "at", "kind"))
        if (number, at) not in told:
            child.event(*_event(folder, str(kind), {"n": number, "happened_at": at, **line}))


def _event(folder: RunFolder, kind: str, data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """An event of the run, in its job's stream: who waits for `finished` is not told of a pause by it."""
    if kind == "finished" and data.get("stop_reason") == "interrupted":
        kind = "interrupted"
    return kind, told(data, folder.run_id, str(folder.path.parents[2]))


def _ended_before(context: Context, folder: RunFolder) -> Mapping[str, Any] | None:
    """The result of a run that was over when the process died that should have said so."""
    if not folder.result.exists():
        return None
    result: dict[str, Any] = read_json(folder.result, what="result")
    artifact = result.get("artifact")
    there = artifact is None or (context.workspace.root / artifact).exists()
    return result if result.get("status") in _FINAL and there else None


def _request(context: Context, job: Job, child: Child) -> tuple[Context, OptimizationRequest]:
    before = context
    context, asked = optimization_asked(context, child.request())
    context = replace(context, lease=before.lease)
    if "output" in asked:  # a run may go on in a workspace that lies elsewhere
        asked["output"] = context.workspace.relative(Path(asked["output"]))
    request = request_of(context, asked)
    return context, replace(request, limits=limits_of_job(request.limits, job))


def _prepared(context: Context, request: OptimizationRequest, folder: RunFolder) -> Prepared:
    """The run as it was begun, with the caps of now; or a new one.

    A worker is upgraded while jobs are under way: the versions alone stop none of them. The result names
    them, and everything else that changed refuses the job by name.
    """
    if not folder.request.exists():
        return replace(prepare_optimization(context, request), folder=folder)
    begun = OptimizationRequest.from_json(read_json(folder.request, what="run request"))
    begun = replace(begun, limits=request.limits)
    plan = resumed_plan(folder, context.loaded, begun, anyway=True)
    if any(change.name != "versions" for change in plan.changes):
        plan = resumed_plan(folder, context.loaded, begun)
    return Prepared(plan, folder)


def _ended(job: Job, result: Mapping[str, Any], child: Child) -> Ended:
    """What a run's result makes of its job.

    Raises:
        LeaseLost: Nothing, since somebody else has it.
    """
    if child.lost or result["stop_reason"] == "lease":
        raise LeaseLost(f"The job {job.job_id} was taken up by another worker.")
    return ended_with(job.job_id, result, child.ask())


class _Listener:
    """Tells the job of its run."""

    def __init__(self, child: Child, plan: Plan, folder: RunFolder) -> None:
        self._child, self._folder = child, folder
        self._progress = RunProgress(plan.request.rounds, len(plan.folds))

    def __call__(self, event: Event) -> None:
        """Something happened in the run.

        Raises:
            Halt: Somebody else has the job: nothing more may be done, and nothing be published.
        """
        progress, child = self._progress, self._child
        if progress.expected is None and self._folder.estimate.exists():
            low, high = read_json(self._folder.estimate, what="estimate")["calls"]
            progress.expected = (low, high)
        if child.reason is not None:
            progress.cut_short()
        progress.see(event.kind, event.data)
        child.show(progress.value, progress.message)
        if event.number == 0:
            return
        try:
            about = {"n": event.number, "happened_at": event.at, **event.data}
            child.event(*_event(self._folder, event.kind, about))
        except LeaseLost as lost:
            if event.kind != "finished":
                raise Halt("lease", lost) from None
