"""A job of the service, watched: the same moving line, result and exit code as a run on this machine."""

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skill_fleet.cli.job_screens import Caller, creation_code, shown_outcome
from skill_fleet.cli.option_groups import options_of
from skill_fleet.cli.progress import watching
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.story import Story
from skill_fleet.foundation.errors import Interrupted, SkillFleetError

if TYPE_CHECKING:
    from skill_fleet.client.client import Client
    from skill_fleet.client.records import Job

_GLANCE = 1.0


def followed(client: "Client", job_id: str, view: Screen, caller: Caller) -> int:
    """Watch a job until it is over or paused, and show what came of it.

    Args:
        client: Of the service.
        job_id: The job.
        view: Where to show it.
        caller: For whom.

    Returns:
        0 for any verdict, else the exit code of what stopped it; 130 of a job that was cancelled or paused.

    Raises:
        Interrupted: The watching was; the job goes on.
        SkillFleetError: There is no such job, or the server is away from the start or for too long.
    """
    client.status(job_id)  # a server that is away from the start is not waited for
    try:
        with watching(view) as watcher:
            story = Story(watcher, quiet=view.quiet)
            job = _watched(client, job_id, story)
    except KeyboardInterrupt:
        again = caller.command(f"jobs watch {job_id}")
        raise Interrupted(f"Job {job_id} goes on without being watched.", hint=f"Again: {again}") from None
    return _concluded(client, job, view, caller, story.worker)


def _concluded(client: "Client", job: "Job", view: Screen, caller: Caller, worker: str | None) -> int:
    """Show what came of a job that is over or paused, and how to go on.

    Returns:
        As `followed`.
    """
    result = None if job.result is None else client.result(job.job_id)
    if result is not None:
        view.data(result, shown_outcome(job, result, worker, caller))
    elif view.as_json:
        view.lines([{"job_id": job.job_id, "status": job.status, "error": job.error}])
    if job.status == "succeeded":
        return creation_code(result, view) if result is not None and job.kind == "creation" else 0
    error = _why(job)
    view.warn(f"error: {' '.join(part for part in (error.message, error.hint) if part)}")
    if job.status in {"paused", "stopped"}:
        view.warn(f"To go on: {caller.command(f'jobs resume {job.job_id}')}{_raised(job)}")
    return error.exit_code


def _why(job: "Job") -> SkillFleetError:
    """Why a job is over without having succeeded, or paused."""
    from skill_fleet.client.problems import error_from

    if job.error is None:
        said = f"Job {job.job_id} is {job.status}."
        return SkillFleetError(said) if job.status == "failed" else Interrupted(said)
    reason = (job.result or {}).get("stop_reason") or ("provider" if job.status == "stopped" else "")
    return error_from(job.error["code"], job.error["message"], job.error.get("hint", ""), family=reason)


def _watched(client: "Client", job_id: str, story: Story) -> "Job":
    """The job as it stands once it is over, or paused."""

    def away(trouble: SkillFleetError) -> None:
        story.say(f"{trouble.message} The job goes on; trying again.")

    _told_so_far(client, job_id, story)
    job = client.status(job_id)
    if job.over or job.status == "paused":
        _told_so_far(client, job_id, story)
        return job
    with _glancing(client, job_id, story):
        for event in client.events(job_id, after=story.last, on_trouble=away):
            story.event(event)
            ended = event.kind == "status" and event.data.get("status") == "paused"
            if ended and (job := client.status(job_id)).status == "paused":
                return job
    return client.status(job_id)


def _told_so_far(client: "Client", job_id: str, story: Story) -> None:
    """Everything that has happened up to now, before anything is said of how the job stands."""
    for event in client.events_so_far(job_id, after=story.last):
        story.event(event)


@contextlib.contextmanager
def _glancing(client: "Client", job_id: str, story: Story) -> Iterator[None]:
    """How far the job is, looked at every second beside its events, which only tell of milestones."""
    over = threading.Event()

    def glance() -> None:
        while not over.is_set():
            with contextlib.suppress(SkillFleetError):  # whoever reads the events says so
                job = client.status(job_id)
                if not over.is_set():
                    story.stands(job)
            over.wait(_GLANCE)

    thread = threading.Thread(target=glance, name="glance", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_GLANCE)


def _raised(job: "Job") -> str:
    """Options that raise the caps of a job that met one."""
    if job.result is None or job.result.get("stop_reason") != "budget" or not job.result.get("estimate"):
        return ""
    from skill_fleet.llm.budget import Limits
    from skill_fleet.optimization.ending.raising import raised_caps

    limits = Limits(usd=job.budget.get("max_cost"), calls=job.budget.get("max_calls"))
    return options_of(raised_caps(limits, job.result))
