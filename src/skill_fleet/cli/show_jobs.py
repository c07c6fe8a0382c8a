"""Jobs of the service for people: a list, one of them, and what happened to it."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from skill_fleet.cli.numbers import UNKNOWN, count, dollars, seconds, several, share
from skill_fleet.cli.plain import line
from skill_fleet.cli.progress import milestone
from skill_fleet.cli.tables import facts, rows
from skill_fleet.llm.calls.bill import paid

if TYPE_CHECKING:
    from rich.console import RenderableType

    from skill_fleet.client.records import Job

_LONGEST = 200
_CAPS: dict[str, Callable[[Any], str]] = {
    "max_cost": dollars,
    "max_calls": lambda number: several(number, "call"),
    "max_tokens": lambda number: several(number, "token"),
    "max_minutes": lambda minutes: seconds(60 * minutes),
}
_BESIDE = frozenset({"n", "at", "happened_at", "elapsed"})


def shown_jobs(jobs: "Iterable[Job]") -> "RenderableType":
    """A list of jobs."""
    lines = [
        (
            job.job_id,
            job.kind,
            job.status,
            share(job.progress),
            _cost(job),
            job.message,
        )
        for job in jobs
    ]
    headings = ("!job", "!kind", "!status", "!done", "!cost", "message")
    return rows(headings, lines, right=("done", "cost"))


def shown_job(job: "Job") -> "RenderableType":
    """One job."""
    pairs: list[tuple[str, object]] = [
        ("job", job.job_id),
        ("kind", job.kind),
        ("status", f"{job.status}, {share(job.progress)}"),
        ("message", job.message),
    ]
    if job.error is not None:
        said = (job.error.get("message"), job.error.get("hint"))
        pairs.append(("error", " ".join(part for part in said if part)))
    capped = [show(job.budget[name]) for name, show in _CAPS.items() if job.budget.get(name) is not None]
    calls = f"{count(job.cost['calls'])} {'call' if job.cost['calls'] == 1 else 'calls'}"
    at_most = f"; at most {', '.join(capped)}" if capped else ""
    pairs.append(("cost", f"{paid({**job.cost, 'calls': job.cost}, dollars)}, {calls}{at_most}"))
    pairs += [
        (name, f"{moment(at)} UTC")
        for name, at in (
            ("asked for", job.created_at),
            ("taken up", job.started_at),
            ("over", job.finished_at),
            ("likely over", job.estimated_finish),
        )
        if at is not None
    ]
    if job.attempt > 1:
        pairs.append(("in the queue", f"{job.attempt} times"))
    if job.crashes or job.deaths:
        pairs.append(
            ("since it got on", f"{_times(job.crashes)} crashed, its worker died {_times(job.deaths)}")
        )
    if job.metadata:
        pairs.append(("metadata", json.dumps(job.metadata, ensure_ascii=False)))
    if job.simulated:
        pairs.append(("SIMULATED", "a rule-based simulator answers, not a language model"))
    return facts(pairs)


def moment(at: str) -> str:
    """A time to the second, in UTC."""
    return f"{at[:10]} {at[11:19]}"


def said(kind: str, data: Mapping[str, Any]) -> str | None:
    """What happened to the job as such, in a sentence; None of what its run did."""
    return _SENTENCES[kind](data) if kind in _SENTENCES else None


def logged(at: str, kind: str, data: Mapping[str, Any]) -> str:
    """One line of a job's log: when, what kind, and in words, or as JSON where there are none."""
    words = said(kind, data) or milestone(kind, data) or str(data.get("message") or "")
    if not words:
        rest = {name: value for name, value in data.items() if name not in _BESIDE}
        words = json.dumps(rest, ensure_ascii=False) if rest else ""
        words = words if len(words) <= _LONGEST else words[: _LONGEST - 1] + "…"
    return f"{moment(at)}Z  {line(kind):<12} {line(words)}".rstrip()


def _cost(job: "Job") -> str:
    unknown = job.cost["usd_unknown_calls"]
    return UNKNOWN if job.cost["usd"] is None or unknown else dollars(job.cost["usd"])


def _nth(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in {11, 12, 13} else 0, "th")
    return f"{number}{ending}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _taken_up(data: Mapping[str, Any]) -> str:
    worker = data.get("worker")
    if (data.get("fence") or 1) == 1:
        return f"Taken up by worker {worker}."
    return f"Taken up again by worker {worker}: goes on from the journal."


def _queued(data: Mapping[str, Any]) -> str:
    attempt = data.get("attempt") or 1
    return "In the queue." if attempt == 1 else f"In the queue for the {_nth(attempt)} time."


def _crashed(data: Mapping[str, Any]) -> str:
    return str((data.get("error") or {}).get("message") or "Its process died.")


_SENTENCES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "queued": _queued,
    "taken_up": _taken_up,
    "asked": lambda data: f"It is to be {data.get('wanted')}.",
    "handed_back": lambda data: f"Handed back by worker {data.get('worker')}.",
    "crashed": _crashed,
    "worker_died": lambda data: f"Worker {data.get('worker')} died; the job goes on with another.",
    "interrupted_from_outside": _crashed,
    "status": lambda data: str(data.get("message") or f"It is {data.get('status')}."),
}
