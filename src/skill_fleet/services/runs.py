"""Finished and unfinished runs."""

from collections.abc import Mapping
from typing import Any

from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_json
from skill_fleet.jobs.records import Status as JobStatus
from skill_fleet.optimization.records.runs import RunFolder, find_run, list_runs, status_of
from skill_fleet.services.context import Context
from skill_fleet.services.job_runs import job_statuses, resume_command

_SUMMARY = ("program", "optimizer", "model", "simulated", "verdict", "usd", "seconds", "resume")


def list_all(context: Context) -> list[dict[str, Any]]:
    """Every run, newest first, a line each: `run_id`, `status`, scores on the sealed test, verdict, cost."""
    runs = list_runs(context.workspace.runs)
    statuses = job_statuses(context, runs)
    return [_with_job(folder, _line(folder), statuses) for folder in runs]


def show(context: Context, run_id: str) -> dict[str, Any]:
    """A run's result; of a run without one, its request and how it stands.

    Raises:
        NotFound: There is no such run.
    """
    folder = find_run(context.workspace.runs, run_id)
    status, result = status_of(folder)
    statuses = job_statuses(context, [folder])
    if result is not None:
        return _with_job(folder, {**result, "status": status}, statuses)
    request = read_json(folder.request, what="run request")
    found = {
        "run_id": folder.run_id,
        "status": status,
        "request": request,
        "resume": f"skill-fleet runs resume {folder.run_id}" if status == "interrupted" else None,
    }
    return _with_job(folder, found, statuses)


def _with_job(folder: RunFolder, found: dict[str, Any], statuses: Mapping[str, JobStatus]) -> dict[str, Any]:
    """What was found of a run; of a job it stands as the service says, which alone goes on with it."""
    if not folder.is_job or found["status"] == "damaged":
        return found
    status = statuses.get(folder.run_id)
    over = status is None and not found.get("resume")
    command = None if over else resume_command(folder.run_id, status)
    return {**found, "status": status or found["status"], "resume": command}


def _line(folder: RunFolder) -> dict[str, Any]:
    """One run in short; a damaged one is named and does not hide the others."""
    empty: dict[str, Any] = dict.fromkeys((*_SUMMARY, "baseline", "optimized"))
    try:
        status, result = status_of(folder)
        request = read_json(folder.request, what="run request")
    except DataError as error:
        return {"run_id": folder.run_id, "status": "damaged", **empty, "error": error.message}
    if result is None:
        known = {"program": request.get("program"), "optimizer": request.get("optimizer")}
        resume = f"skill-fleet runs resume {folder.run_id}" if status == "interrupted" else None
        return {"run_id": folder.run_id, "status": status, **empty, **known, "resume": resume}
    known = {name: result.get(name) for name in _SUMMARY}
    scores = {kind: (result.get(kind) or {}).get("test") for kind in ("baseline", "optimized")}
    return {"run_id": folder.run_id, "status": status, **known, **scores}
