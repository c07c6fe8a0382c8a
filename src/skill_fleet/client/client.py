"""The client: a method for each thing the service can be asked."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

import httpx2
from typing_extensions import override

from skill_fleet.client.calls import Calls
from skill_fleet.client.problems import unreadable
from skill_fleet.client.records import (
    Budget,
    Creation,
    Event,
    Job,
    JobPage,
    Kind,
    Optimization,
    Started,
    Status,
)
from skill_fleet.client.streams import OnTrouble, follow
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import NotFound

DEFAULT_URL = "http://127.0.0.1:8000"
_SLOW_SECONDS = 330.0
_AWAY_SECONDS = 300.0


class Client:
    """A service, as its REST API has it. Safe between threads; a context manager.

    Every method raises the errors of `skill_fleet.foundation.errors`, with the server's own sentence: what is
    refused there has the class, the code and the exit code that the same mistake has here. A server that
    does not answer is a `ProviderError` with code `server_away`; what can be asked twice without harm was
    then asked a few times.

    Args:
        url: `http://HOST:PORT` or `https://HOST`.
        key: Of `skill-fleet keys create`; None where the server needs none.
        timeout: Seconds that an answer may take.
        plain_http: Let the key go over http to another machine, in the clear.
        clock: For waiting between tries.
        transport: Instead of the network, for tests.

    Raises:
        UsageError: The address or the key is none, or the key would go over the network in the clear.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout: float = 60.0,
        plain_http: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(
            url, key, timeout=timeout, clock=clock, plain_http=plain_http, transport=transport
        )

    @override
    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The server's address."""
        return self._calls.url

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def start(self, *, idempotency_key: str | None = None, **optimization: Unpack[Optimization]) -> Started:
        """Put an optimization into the queue; checked in full before that.

        Args:
            idempotency_key: The same key with the same request is the same job. None makes one, so that a
                request whose answer was lost can be made again.
            **optimization: What to optimize with; nothing at all is the server's defaults.
        """
        return self._begun("/optimization/start", optimization, idempotency_key)

    def create_skill(
        self, task: str, *, idempotency_key: str | None = None, **creation: Unpack[Creation]
    ) -> Started:
        """Have a skill written, as a job.

        Args:
            task: What an agent should be able to do.
            idempotency_key: As for `start`.
            **creation: How.
        """
        return self._begun("/skills", {"task": task, **creation}, idempotency_key)

    def status(self, job_id: str) -> Job:
        """A job as it stands."""
        return Job.of(self._calls.get(f"/optimization/status/{_part(job_id)}"))

    def jobs(
        self,
        *,
        statuses: Sequence[Status] = (),
        kind: Kind | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> JobPage:
        """A page of the jobs, newest first.

        Args:
            statuses: Only these; none is all.
            kind: Only this one.
            limit: From 1 to 100.
            cursor: `next_cursor` of the page before.
        """
        found = self._object(
            self._calls.get(
                "/optimization/jobs", status=list(statuses) or None, kind=kind, limit=limit, cursor=cursor
            ),
            {"jobs", "next_cursor"},
        )
        return JobPage(tuple(Job.of(one) for one in found["jobs"]), found["next_cursor"])

    def all_jobs(self, *, statuses: Sequence[Status] = (), kind: Kind | None = None) -> Iterator[Job]:
        """Every job, newest first, read page by page."""
        cursor: str | None = None
        while True:
            page = self.jobs(statuses=statuses, kind=kind, limit=100, cursor=cursor)
            yield from page.jobs
            cursor = page.next_cursor
            if cursor is None:
                return

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        patience: float = _AWAY_SECONDS,
        on_trouble: OnTrouble | None = None,
    ) -> Iterator[Event]:
        """What happens to a job, as it happens, until it is over: nothing lost and nothing twice.

        A connection that breaks is made again, from the last event on.

        Args:
            job_id: The job.
            after: Only events after this number.
            patience: Seconds for which the server may be away before it is given up.
            on_trouble: Told once each time it goes away.
        """
        return follow(
            self._calls, f"{_job(job_id)}/events", after=after, patience=patience, on_trouble=on_trouble
        )

    def events_so_far(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """What has happened to a job up to now."""
        while True:
            found = self._calls.get(f"{_job(job_id)}/events", after=after)
            page = self._object(found, {"events", "over", "last"})
            for one in page["events"]:
                yield Event.of(one)
            if not page["events"] or page["over"]:
                return
            after = page["last"]

    def wait(self, job_id: str, *, patience: float = _AWAY_SECONDS) -> Job:
        """The job when it is over; a paused one is waited for until somebody resumes it."""
        for _ in self.events(job_id, patience=patience):
            pass
        return self.status(job_id)

    def cancel(self, job_id: str) -> Job:
        """Stop a job for good; what was found so far is kept as its result."""
        return Job.of(self._calls.post(f"{_job(job_id)}/cancel"))

    def pause(self, job_id: str) -> Job:
        """Stop a job until it is resumed."""
        return Job.of(self._calls.post(f"{_job(job_id)}/pause"))

    def resume(self, job_id: str, *, budget: Budget | None = None) -> Job:
        """Go on with a job that is paused or was stopped; no finished call is made again.

        Args:
            job_id: The job.
            budget: Caps in place of those it had.
        """
        body = None if budget is None else {"budget": budget}
        return Job.of(self._calls.post(f"{_job(job_id)}/resume", body, again=False))

    def delete(self, job_id: str) -> bool:
        """Cancel a job that is not over, remove one that is.

        Returns:
            Whether it is gone; False while it is being cancelled.
        """
        return self._calls.send("DELETE", _job(job_id)).status_code == httpx2.codes.NO_CONTENT

    def result(self, job_id: str) -> dict[str, Any]:
        """What came of a job, in full.

        Raises:
            NotFound: There is no result yet; its code is then `no_result`.
        """
        return self._object(self._calls.get(f"{_job(job_id)}/result"))

    def report(self, job_id: str) -> str:
        """The run's report, in Markdown."""
        return self._calls.send("GET", f"{_job(job_id)}/report", headers={"Accept": "text/markdown"}).text

    def estimate(self, **optimization: Unpack[Optimization]) -> dict[str, Any]:
        """What a job would take; spends nothing."""
        return self._object(self._calls.post("/optimization/estimate", optimization, timeout=_SLOW_SECONDS))

    def recommend(self, **optimization: Unpack[Optimization]) -> dict[str, Any]:
        """Which optimizer to take, by which rule; spends nothing."""
        return self._object(self._calls.post("/optimization/recommend", optimization, timeout=_SLOW_SECONDS))

    def optimizers(self) -> list[dict[str, Any]]:
        """Every optimizer with its parameters."""
        found = self._calls.get("/optimization/optimizers")
        return list(self._object(found, {"optimizers"})["optimizers"])

    def config(self) -> dict[str, Any]:
        """The server's configuration in force, without secrets."""
        return self._object(self._calls.get("/optimization/config"))

    def skills(self, *, prefix: str = "", limit: int = 20, cursor: str | None = None) -> dict[str, Any]:
        """A page of the server's library."""
        return self._object(self._calls.get("/skills", prefix=prefix or None, limit=limit, cursor=cursor))

    def skill(self, path: str) -> dict[str, Any]:
        """One skill of the server's library."""
        return self._object(self._calls.get(f"/skills/{quote(path)}"))

    def validate(
        self, *, path: str | None = None, content: str | None = None, profile: str = "spec"
    ) -> dict[str, Any]:
        """Whether a skill of the library, or a text, keeps the specification."""
        given = {"path": path, "content": content, "profile": profile}
        body = {name: value for name, value in given.items() if value is not None}
        return self._object(self._calls.post("/skills/validate", body))

    def evaluate(self, path: str, *, task: str = "") -> dict[str, Any]:
        """The quality of a skill of the server's library, or of all below a path."""
        return self._object(self._calls.post("/evaluation/evaluate", {"path": path, "task": task}))

    def evaluate_content(self, content: str, *, name: str | None = None, task: str = "") -> dict[str, Any]:
        """The quality of a text."""
        body = {"content": content, "task": task, **({} if name is None else {"name": name})}
        return self._object(self._calls.post("/evaluation/evaluate-content", body))

    def evaluate_batch(self, paths: Sequence[str]) -> dict[str, Any]:
        """The quality of many skills of the server's library."""
        body = {"paths": list(paths)}
        return self._object(self._calls.post("/evaluation/evaluate-batch", body, timeout=_SLOW_SECONDS))

    def metrics_info(self) -> dict[str, Any]:
        """What quality is made of."""
        return self._object(self._calls.get("/evaluation/metrics-info"))

    def _begun(self, path: str, body: Mapping[str, Any], idempotency_key: str | None) -> Started:
        key = idempotency_key or secrets.token_hex(16)
        found = self._calls.post(path, body, headers={"Idempotency-Key": key}, timeout=_SLOW_SECONDS)
        return Started.of(found)

    def _object(self, value: Any, names: AbstractSet[str] = frozenset()) -> dict[str, Any]:
        if not isinstance(value, dict) or not value.keys() >= names:
            raise unreadable(self.url, "is none of a skill-fleet server")
        return value


def _part(name: str) -> str:
    """A name as one part of an address; the empty one would name something else."""
    if not name.strip(". "):
        raise NotFound(f"There is no job named '{name}'.")
    return quote(name, safe="")


def _job(job_id: str) -> str:
    return f"/optimization/jobs/{_part(job_id)}"
