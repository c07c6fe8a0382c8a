"""Jobs as JSON: what clients get to see of one, and of a page of them."""

from datetime import UTC, datetime
from typing import Any

from skill_fleet.jobs.records import Job, JobEvent, JobSummary
from skill_fleet.llm.calls.bill import usd_range

BASE = "/api/v2/optimization"
_TOO_EARLY = 0.05
_MESSAGES = {
    "queued": "Waiting for a worker.",
    "running": "Starting.",
    "paused": "Paused.",
    "succeeded": "Done.",
    "stopped": "Stopped.",
    "failed": "Failed.",
    "cancelled": "Cancelled.",
}


def job_view(job: Job) -> dict[str, Any]:
    """How a job stands, as clients see it; the same as long as its `version` is."""
    return {**summary_view(job), "result": job.result}


def summary_view(job: JobSummary) -> dict[str, Any]:
    """A job as lists have it: all but its result."""
    spent = None if job.usd_unknown_calls else job.usd
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "status": job.status,
        "progress": job.progress,
        "message": _message(job),
        "error": job.error,
        "estimated_finish": _estimated_finish(job),
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "finished_at": _iso(job.finished_at),
        "updated_at": _iso(job.updated_at),
        "attempt": job.attempt,
        "crashes": job.crashes,
        "deaths": job.deaths,
        "cost": {
            "calls": job.calls,
            "possibly_billed": job.possibly_billed,
            "usd": spent,
            "usd_range": usd_range(job.usd, job.usd_unknown_calls, job.usd_most),
            "usd_unknown_calls": job.usd_unknown_calls,
        },
        "budget": {
            "max_cost": job.max_usd,
            "max_calls": job.max_calls,
            "max_tokens": job.max_tokens,
            "max_minutes": job.max_minutes,
        },
        "metadata": job.metadata,
        "simulated": _simulated(job),
        "links": links_of(job.job_id),
    }


def links_of(job_id: str) -> dict[str, str]:
    """Where to ask about a job, and what to ask of it."""
    place = f"{BASE}/jobs/{job_id}"
    verbs = ("events", "result", "report", "cancel", "pause", "resume")
    return {"self": f"{BASE}/status/{job_id}", **{verb: f"{place}/{verb}" for verb in verbs}}


def event_view(event: JobEvent) -> dict[str, Any]:
    """An event of a job as clients see it."""
    return {"number": event.number, "at": event.at, "kind": event.kind, "data": event.data}


def _message(job: JobSummary) -> str:
    if job.status == "running" and job.wanted is not None:
        return "Pausing." if job.wanted == "paused" else "Cancelling."
    if job.status in {"queued", "paused"}:  # what is kept is of the last time it ran
        return _MESSAGES[job.status]
    if job.status == "cancelled" and not job.message.startswith("Cancelled"):
        return _MESSAGES[job.status]
    return job.message or _MESSAGES[job.status]


def _simulated(job: JobSummary) -> bool | None:
    """Whether the built-in simulator answers; None while only a part of the models is known."""
    if job.simulated is not None:
        return job.simulated
    return True if job.provider == "offline" else None


def _estimated_finish(job: JobSummary) -> str | None:
    """From the pace so far. None before there is one, and where a pause lies in between."""
    if job.status != "running" or job.started_at is None or job.attempt > 1 or job.progress < _TOO_EARLY:
        return None
    return _iso(job.started_at + (job.updated_at - job.started_at) / job.progress)


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
