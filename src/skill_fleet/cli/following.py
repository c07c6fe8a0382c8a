"""A job of the service, watched: the same moving line, result and exit code as a run on this machine."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.progress import Watcher, watching
from skill_fleet.cli.screen import Screen
from skill_fleet.cli.show_jobs import said
from skill_fleet.foundation.errors import Interrupted, SkillFleetError

if TYPE_CHECKING:
    from skill_fleet.client.client import Client
    from skill_fleet.client.records import Job

Command = Callable[[str], str]
_GLANCE = 1.0
_COUNTED = re.compile(r",? [\d,]+(?: of [\d,]+)? \w+\.$")


def followed(client: "Client", job_id: str, view: Screen, command: Command) -> int:
    """Watch a job until it is over or paused, and show what came of it.

    Args:
        client: Of the service.
        job_id: The job.
        view: Where to show it.
        command: Makes the command line that is to be typed next, of its words.

    Returns:
        0 for any verdict, else the exit code of what stopped it; 130 of a job that was cancelled or paused.

    Raises:
        Interrupted: The watching was; the job goes on.
        SkillFleetError: There is no such job, or the server is away from the start or for too long.
    """
    client.status(job_id)  # a server that is away from the start is not waited for
    try:
        with watching(view) as watcher:
            job = _watched(client, job_id, watcher, view)
    except KeyboardInterrupt:
        again = command(f"jobs watch {job_id}")
        raise Interrupted(f"Job {job_id} goes on without being watched.", hint=f"Again: {again}") from None
    return concluded(client, job, view, command)


def concluded(client: "Client", job: "Job", view: Screen, command: Command) -> int:
    """Show what came of a job that is over or paused, and how to go on.

    Returns:
        As `followed`.
    """
    if job.result is not None:
        view.data(client.result(job.job_id), _shown(job.kind))
    elif view.as_json:
        view.lines([{"job_id": job.job_id, "status": job.status, "error": job.error}])
    if job.status == "succeeded":
        return 0
    error = _why(job)
    view.warn(f"error: {' '.join(part for part in (error.message, error.hint) if part)}")
    if job.status in {"paused", "stopped"}:
        view.warn(f"To go on: {command(f'jobs resume {job.job_id}')}{_raised(job)}")
    return error.exit_code


def _why(job: "Job") -> SkillFleetError:
    """Why a job is over without having succeeded, or paused."""
    from skill_fleet.client.problems import error_from

    if job.error is None:
        said = f"Job {job.job_id} is {job.status}."
        return SkillFleetError(said) if job.status == "failed" else Interrupted(said)
    reason = (job.result or {}).get("stop_reason") or ("provider" if job.status == "stopped" else "")
    return error_from(job.error["code"], job.error["message"], job.error.get("hint", ""), family=reason)


def _watched(client: "Client", job_id: str, watcher: Watcher, view: Screen) -> "Job":
    """The job as it stands once it is over, or paused."""
    from skill_fleet.optimization.events import Event

    def tell(text: str) -> None:
        if not view.quiet:
            watcher.say(text)

    def away(trouble: SkillFleetError) -> None:
        tell(f"{trouble.message} The job goes on; trying again.")

    with _glancing(client, job_id, watcher):
        for event in client.events(job_id, on_trouble=away):
            text = said(event.kind, event.data)
            if text is None:
                watcher(Event(event.number, event.at, event.kind, dict(event.data)))
            elif event.kind != "status":
                tell(text)
            elif event.data.get("status") == "paused" and (job := client.status(job_id)).status == "paused":
                return job
    return client.status(job_id)


@contextlib.contextmanager
def _glancing(client: "Client", job_id: str, watcher: Watcher) -> Iterator[None]:
    """How far the job is, looked at every second beside its events, which only tell of milestones."""
    from skill_fleet.optimization.events import Event

    over = threading.Event()

    def glance() -> None:
        before: Job | None = None
        while not over.is_set():
            with contextlib.suppress(SkillFleetError):  # whoever reads the events says so
                job = client.status(job_id)
                if job != before and not over.is_set():
                    watcher(Event(0, job.updated_at, "progress", _progress(job)))
                before = job
            over.wait(_GLANCE)

    thread = threading.Thread(target=glance, name="glance", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_GLANCE)


def _progress(job: "Job") -> dict[str, Any]:
    """A job as an event of progress: its stage without what is counted in it, so that it keeps its name."""
    title = _COUNTED.sub("", job.message).rstrip(".")
    return {
        "stage": title or job.status,
        "share": job.progress,
        "calls": job.cost["calls"],
    }


def _shown(kind: str) -> Callable[[Mapping[str, Any]], Any]:
    if kind == "creation":
        from skill_fleet.cli.show_skills import shown_creation

        return shown_creation
    from skill_fleet.cli.show_run import shown_result

    return shown_result


def _raised(job: "Job") -> str:
    """Options that raise the caps of a job that met one."""
    if job.result is None or job.result.get("stop_reason") != "budget" or not job.result.get("estimate"):
        return ""
    from skill_fleet.llm.budget import Limits
    from skill_fleet.optimization.raising import raised_caps

    limits = Limits(usd=job.budget.get("max_cost"), calls=job.budget.get("max_calls"))
    caps = raised_caps(limits, job.result)
    options = {"--max-cost": caps.usd, "--max-calls": caps.calls}
    return "".join(f" {option} {cap:.15g}" for option, cap in options.items() if cap is not None)
