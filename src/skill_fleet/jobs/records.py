"""What a job is, as the store gives it: plain values, no database and no queue."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

from skill_fleet.llm.journal.spent import Spent

Kind = Literal["optimization", "creation"]
Status = Literal["queued", "running", "paused", "succeeded", "stopped", "failed", "cancelled"]
Wanted = Literal["paused", "cancelled"]

STATUSES: tuple[Status, ...] = (
    "queued",
    "running",
    "paused",
    "succeeded",
    "stopped",
    "failed",
    "cancelled",
)
OVER: frozenset[Status] = frozenset({"succeeded", "stopped", "failed", "cancelled"})
"""Nothing will happen to such a job by itself."""
RESUMABLE: frozenset[Status] = frozenset({"paused", "stopped"})
"""`resume` puts such a job back into the queue."""


@dataclass(frozen=True)
class NewJob:
    """A job to be put into the queue.

    Attributes:
        job_id: Its name; also that of its run. See `new_job_id`.
        kind: What is to be done.
        request: What the work is given, a JSON object.
        owner: The key that asked for it; None where no key was needed.
        provider: Of the model that runs it, for the limit of jobs a provider.
        priority: From 1, the first, to 100.
        metadata: The client's own words.
        max_usd: Cap on dollars; None is no cap.
        max_calls: Cap on calls; None is no cap.
        max_tokens: Cap on tokens, sent and answered; None is no cap.
        max_minutes: Cap on minutes of running time; None is no cap.
    """

    job_id: str
    kind: Kind
    request: Mapping[str, Any]
    owner: str | None = None
    provider: str = "offline"
    priority: int = 50
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_usd: float | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    max_minutes: float | None = None


@dataclass(frozen=True)
class JobSummary:
    """A job as lists have it. Times are seconds since 1970 on the database's clock.

    What its work is given is not here, for it can have megabytes: see `JobStore.request_of`.

    Attributes:
        job_id: Its name.
        kind: What is to be done.
        status: How it stands.
        wanted: What was asked of it and is not yet so.
        metadata: The client's own words.
        owner: The key that asked for it.
        provider: Of the model that runs it.
        priority: From 1, the first, to 100.
        progress: From 0 to 1; never falls.
        message: What it is at, one sentence.
        simulated: Whether the built-in simulator answered, by its result; None while that does not tell.
        error: `code`, `message`, `hint` of why it did not succeed.
        attempt: How often it was put into the queue; each is a workflow of its own.
        crashes: How often its process died by itself since it last got further.
        deaths: How often its worker died under it since then, or its process was ended from outside: not the
            job's own doing.
        fence: How often it was taken up; whoever holds a lower number has lost it.
        worker: Who runs it, or ran it last.
        max_usd: Cap on dollars.
        max_calls: Cap on calls.
        max_tokens: Cap on tokens, sent and answered.
        max_minutes: Cap on minutes of running time.
        calls: Attempts made so far.
        usd: Known dollars spent so far.
        usd_unknown_calls: Attempts that may have cost something nobody knows.
        usd_most: Dollars with what these can have cost at most; None where one has no bound.
        possibly_billed: Attempts without an answer that may have been billed.
        created_at: When it was asked for.
        started_at: When it was first taken up.
        finished_at: When it was over.
        updated_at: When anything of this last changed.
        version: Rises with every change of it.
    """

    job_id: str
    kind: Kind
    status: Status
    wanted: Wanted | None
    metadata: Mapping[str, Any]
    owner: str | None
    provider: str
    priority: int
    progress: float
    message: str
    simulated: bool | None
    error: Mapping[str, Any] | None
    attempt: int
    crashes: int
    deaths: int
    fence: int
    worker: str | None
    max_usd: float | None
    max_calls: int | None
    max_tokens: int | None
    max_minutes: float | None
    calls: int
    usd: float
    usd_unknown_calls: int
    usd_most: float | None
    possibly_billed: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    updated_at: float
    version: int

    @property
    def over(self) -> bool:
        """Whether nothing will happen to it by itself."""
        return self.status in OVER

    @property
    def workflow_id(self) -> str:
        """The queue's name for this attempt."""
        return f"{self.job_id}.{self.attempt}"


@dataclass(frozen=True)
class Job(JobSummary):
    """A job as it stands, with its result.

    Attributes:
        result_json: The result as it is stored; read where it is asked for.
    """

    result_json: str | None

    @cached_property
    def result(self) -> Mapping[str, Any] | None:
        """What came of it; of a stopped or cancelled job, what there is."""
        if self.result_json is None:
            return None
        found: dict[str, Any] = json.loads(self.result_json)
        return found


@dataclass(frozen=True)
class Lease:
    """The right to work on a job: held until somebody else takes the job up.

    Attributes:
        job_id: The job.
        fence: The number of this taking-up.
        worker: Who took it.
    """

    job_id: str
    fence: int
    worker: str


@dataclass(frozen=True)
class JobEvent:
    """One thing that happened to a job.

    Attributes:
        number: Position in the job's stream, from 1, without gaps.
        at: ISO 8601, UTC, on the database's clock.
        kind: As of the run's events, or of the job: `queued`, `taken_up`, `asked`, `handed_back`, `crashed`,
            `worker_died`, `interrupted_from_outside`, `status`.
        data: What belongs to the kind.
    """

    number: int
    at: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Spending:
    """What a job has spent so far, over all its attempts; fields as of `JobSummary`."""

    calls: int
    usd: float
    usd_unknown_calls: int
    usd_most: float | None = None
    possibly_billed: int = 0

    @classmethod
    def by(cls, spent: Spent, *, ended: bool) -> Self:
        """By the journal.

        Args:
            spent: What the journal says.
            ended: Whether the work is over. While it goes on, a call under way is reserved, and not of
                unknown cost; one that is left at its end is.
        """
        unknown = spent.usd_unknown_calls if ended else spent.usd_unknown_for_good
        billed = spent.possibly_billed if ended else spent.possibly_billed - spent.open
        return cls(spent.calls, spent.usd, unknown, spent.most_usd, billed)


@dataclass(frozen=True)
class Worker:
    """A process that takes jobs.

    Attributes:
        worker_id: Unique for each start of a process; the queue's executor id.
        host: Where it runs.
        pid: Its process.
        version: Of the jobs' protocol.
        state: `alive`, `stopped` (it said goodbye), or `dead` (its heartbeat is too old).
        started_at: Seconds since 1970.
        heartbeat_at: Seconds since 1970, on the database's clock.
    """

    worker_id: str
    host: str
    pid: int
    version: str
    state: Literal["alive", "stopped", "dead"]
    started_at: float
    heartbeat_at: float


@dataclass(frozen=True)
class ApiKey:
    """A key that may use the service. Its secret is not here: only a hash of it is kept.

    Attributes:
        key_id: Its public name; the owner of its jobs.
        name: What somebody called it.
        scopes: Of `read`, `run`, `admin`.
        usd_per_day: Cap on dollars a day (UTC) over all its jobs; None is no cap.
        calls_per_day: Cap on calls a day.
        created_at: Seconds since 1970.
        last_used_at: Seconds since 1970, to the minute; None where it was not used.
        revoked_at: Seconds since 1970; None while it is good.
    """

    key_id: str
    name: str
    scopes: tuple[str, ...]
    usd_per_day: float | None
    calls_per_day: int | None
    created_at: float
    last_used_at: float | None
    revoked_at: float | None
