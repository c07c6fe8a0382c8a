"""Between values and columns: JSON as text that every database holds, and rows as records."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from skill_fleet.foundation.clock import iso
from skill_fleet.jobs.records import Job, JobEvent, JobSummary
from skill_fleet.jobs.tables import JOB

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LARGEST = 2**63 - 1

SUMMARY_COLUMNS = (
    JOB.c.job_id,
    JOB.c.kind,
    JOB.c.status,
    JOB.c.wanted,
    JOB.c.metadata,
    JOB.c.owner,
    JOB.c.provider,
    JOB.c.priority,
    JOB.c.progress,
    JOB.c.message,
    JOB.c.simulated,
    JOB.c.error,
    JOB.c.attempt,
    JOB.c.crashes,
    JOB.c.deaths,
    JOB.c.fence,
    JOB.c.worker,
    JOB.c.max_usd,
    JOB.c.max_calls,
    JOB.c.max_tokens,
    JOB.c.max_minutes,
    JOB.c.calls,
    JOB.c.usd,
    JOB.c.usd_unknown_calls,
    JOB.c.usd_most,
    JOB.c.possibly_billed,
    JOB.c.created_at,
    JOB.c.started_at,
    JOB.c.finished_at,
    JOB.c.updated_at,
    JOB.c.version,
)
"""The columns of a `JobSummary`, in its order."""
JOB_COLUMNS = (*SUMMARY_COLUMNS, JOB.c.result)
"""The columns of a `Job`, in its order."""
_NAMES = [column.name for column in SUMMARY_COLUMNS]
_METADATA, _SIMULATED, _ERROR = map(_NAMES.index, ("metadata", "simulated", "error"))


def clean(text: str) -> str:
    """The text with what no database text holds (NUL, halves of surrogate pairs) replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def storable(text: str) -> bool:
    """Whether a database could hold this text; a name that it could not hold names nothing."""
    return _UNSTORABLE.search(text) is None


def encode(value: Any) -> str:
    """The value as JSON text of ASCII characters; NaN and infinity, which JSON has not, become null."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def encode_or_none(value: Any) -> str | None:
    """As `encode`; None stays None."""
    return None if value is None else encode(value)


def decode(text: str | None) -> Any:
    """The value of a JSON text; None of None."""
    return None if text is None else json.loads(text)


def whole(number: int | None) -> int | None:
    """The number, at most the largest that a column holds."""
    return None if number is None else min(number, _LARGEST)


def job_of(row: Sequence[Any]) -> Job:
    """The job of a row of `JOB_COLUMNS`."""
    return Job(*_read(row))


def summary_of(row: Sequence[Any]) -> JobSummary:
    """The job of a row of `SUMMARY_COLUMNS`."""
    return JobSummary(*_read(row))


def result_columns(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored of a result: it, and what lists tell of it."""
    simulated = result.get("simulated")
    return {"result": encode(result), "simulated": simulated if isinstance(simulated, bool) else None}


def event_of(row: Sequence[Any]) -> JobEvent:
    """The event of a row of number, at, kind, data."""
    number, at, kind, data = row
    return JobEvent(number, iso(at), kind, cast("Mapping[str, Any]", decode(data)))


def _read(row: Sequence[Any]) -> list[Any]:
    values: list[Any] = list(row)
    values[_METADATA], values[_ERROR] = decode(values[_METADATA]), decode(values[_ERROR])
    if values[_SIMULATED] is not None:
        values[_SIMULATED] = bool(values[_SIMULATED])  # SQLite's own driver gives a number
    return values


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
