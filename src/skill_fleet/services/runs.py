"""Finished and unfinished runs."""

from typing import Any

from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import read_json
from skill_fleet.optimization.runs import RunFolder, find_run, list_runs, status_of
from skill_fleet.services.context import Context

_SUMMARY = ("program", "optimizer", "model", "simulated", "verdict", "usd", "seconds", "resume")


def list_all(context: Context) -> list[dict[str, Any]]:
    """Every run, newest first, a line each: `run_id`, `status`, scores on the sealed test, verdict, cost."""
    return [_line(folder) for folder in list_runs(context.workspace.runs)]


def show(context: Context, run_id: str) -> dict[str, Any]:
    """A run's result; of a run without one, its request and how it stands.

    Raises:
        NotFound: There is no such run.
    """
    folder = find_run(context.workspace.runs, run_id)
    status, result = status_of(folder)
    if result is not None:
        return {**result, "status": status}
    request = read_json(folder.request, what="run request")
    return {
        "run_id": folder.run_id,
        "status": status,
        "request": request,
        "resume": f"skill-fleet runs resume {folder.run_id}" if status == "interrupted" else None,
    }


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
