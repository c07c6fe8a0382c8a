"""The caps of a job: those of its request, lowered to what its key may still use."""

from dataclasses import replace
from typing import TypeVar

from skill_fleet.jobs.records import Job
from skill_fleet.llm.budget import Limits

N = TypeVar("N", int, float)


def limits_of_job(limits: Limits, job: Job) -> Limits:
    """The caps of a request, lowered to what the job may use."""
    return replace(limits, usd=_lower(limits.usd, job.max_usd), calls=_lower(limits.calls, job.max_calls))


def _lower(one: N | None, other: N | None) -> N | None:
    given = [cap for cap in (one, other) if cap is not None]
    return min(given) if given else None
