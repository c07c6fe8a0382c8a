"""How the work on a job ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skill_fleet.foundation.errors import (
    BudgetExhausted,
    Interrupted,
    ProviderError,
    SkillFleetError,
    StorageError,
)
from skill_fleet.jobs.records import Status, Wanted

_RESUMABLE = (BudgetExhausted, ProviderError, StorageError)
_MESSAGES: Mapping[str, str] = {
    "succeeded": "Done.",
    "paused": "Paused.",
    "cancelled": "Cancelled; the best so far is kept.",
}


@dataclass(frozen=True)
class Ended:
    """How the work on a job ended.

    Attributes:
        status: What the job is now; None where it was interrupted and is to be gone on with.
        result: What came of it, as far as there is something.
        error: `code`, `message`, `hint` of why it did not succeed, and what else the error knows.
        message: One sentence.
    """

    status: Status | None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    message: str = ""


def ended_by(error: SkillFleetError, wanted: Wanted | None) -> Ended:
    """What an error makes of a job.

    Args:
        error: What the work raised.
        wanted: What is asked of the job.
    """
    if isinstance(error, Interrupted):
        return Ended(wanted, message=_MESSAGES.get(wanted or "", ""))
    status: Status = "stopped" if isinstance(error, _RESUMABLE) else "failed"
    return Ended(status, None, error.to_json(), error.message)


def ended_with(job_id: str, result: Mapping[str, Any], wanted: Wanted | None) -> Ended:
    """What the result of a run makes of its job."""
    status, error = _status(result, wanted), result["error"]
    resume = f"skill-fleet jobs resume {job_id}" if status in {"paused", "stopped"} else None
    message = _MESSAGES.get(status or "") or (str(error["message"]) if error else "")
    told = error if status in {"stopped", "failed"} else None
    return Ended(status, {**result, "resume": resume}, told, message)


def _status(result: Mapping[str, Any], wanted: Wanted | None) -> Status | None:
    if result["status"] == "succeeded":
        return "succeeded"
    if result["status"] == "failed":
        return "failed"
    if wanted == "cancelled":
        return "cancelled"
    return wanted if result["stop_reason"] == "interrupted" else "stopped"
