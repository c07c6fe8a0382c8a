"""The work of a job that writes a skill, in its own process.

It is short: killed in the middle it is done again, with the inputs it began with, so that the journal has
the answers; and a skill that an earlier process of the same job wrote is its own.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from skill_fleet.foundation.files import read_json, write_json
from skill_fleet.jobs.child import Child
from skill_fleet.jobs.records import Job
from skill_fleet.llm.calls.patience import Rarely, Waiting
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.creation import CreationRequest, Repeatable, create_skill, known_paths
from skill_fleet.services.job_ending import Ended
from skill_fleet.services.job_limits import limits_of_job
from skill_fleet.services.job_requests import creation_asked
from skill_fleet.services.optimization import limits_of

_INPUTS = "inputs.json"
_ANNOUNCED = "writing"
_NOTED_EVERY = 10.0


def create(context: Context, job: Job, child: Child) -> Ended:
    """Write one skill into the library.

    Args:
        context: Settings and workspace.
        job: What to do.
        child: Told how it goes; it has the job's lease.

    Raises:
        LeaseLost: Somebody else has the job; nothing was written.
        SkillFleetError: It was stopped, or cannot be done.
    """
    folder = context.workspace.state / "creations" / job.job_id
    child.restore(folder)
    child.keep(folder)
    settings, asked = creation_asked(context, child.request())
    limits = limits_of_job(limits_of(settings.settings), job)
    request = CreationRequest(**asked, limits=limits)
    control = Control()
    child.on_stop(control.interrupt)
    child.event("started", {"best_of": request.best_of, "refine": request.refine})

    reached = [0.0]
    noted = Rarely(_NOTED_EVERY)

    def tell(done: int, total: int) -> None:
        reached[0] = 0.05 + 0.9 * done / total
        child.show(reached[0], f"Draft {min(done + 1, total)} of {total}.")

    def waits(waiting: Waiting) -> None:
        child.show(reached[0], waiting.message)
        if noted.due(context.clock.monotonic()):
            child.event("waiting", waiting.to_json())

    control.on_wait = waits

    result = create_skill(
        replace(settings, lease=context.lease),
        request,
        control=control,
        on_draft=tell,
        repeatable=Repeatable(_inputs(context, folder), _Announcer(child)),
    )
    return Ended("succeeded", result, None, f"Written to {result['path']}.")


def _inputs(context: Context, folder: Path) -> list[str]:
    """What the library held when the job was first begun."""
    file = folder / _INPUTS
    if not file.exists():
        write_json(file, known_paths(context))
    return [str(path) for path in read_json(file, what="job's inputs")]


class _Announcer:
    """Says in the job's stream what is about to be written, before it is."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def __call__(self, data: bytes) -> bool:
        """Whether the same was announced before.

        Raises:
            LeaseLost: Somebody else has the job.
            StorageError: The store does not answer: what is not announced is not written.
        """
        digest = hashlib.sha256(data).hexdigest()
        before = any(
            event.kind == _ANNOUNCED and event.data.get("sha256") == digest for event in self._child.told()
        )
        if not before:
            self._child.event(_ANNOUNCED, {"sha256": digest})
        self._child.write()  # what was announced by an earlier process may be another's to write by now
        return before
