"""What goes to the service and what comes back, as plain typed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypedDict

from typing_extensions import override

from skill_fleet.foundation.errors import ProviderError

Kind = Literal["optimization", "creation"]
Status = Literal["queued", "running", "paused", "succeeded", "stopped", "failed", "cancelled"]

OVER: frozenset[str] = frozenset({"succeeded", "stopped", "failed", "cancelled"})
"""Nothing will happen to such a job by itself."""


class Budget(TypedDict, total=False):
    """Caps over everything a job does; null or absent is the server's own."""

    max_cost: float | None
    max_calls: int | None
    max_tokens: int | None
    max_minutes: float | None


class Optimization(TypedDict, total=False):
    """What to optimize with, and how far; what is absent is as the server's configuration says."""

    optimizer: str
    training_paths: Sequence[str]
    trainset: Sequence[Mapping[str, Any]]
    auto: Literal["light", "medium", "heavy"]
    trials: int
    rounds: int
    max_bootstrapped_demos: int
    max_labeled_demos: int
    save_path: str
    seed: int
    num_threads: int
    prefer: Literal["quality", "cheaper"]
    min_groups: int
    folds: int
    repeats: int
    modules: Sequence[str]
    models: Mapping[str, str]
    budget: Budget
    metadata: Mapping[str, Any]


class Creation(TypedDict, total=False):
    """How a skill is to be written; what is absent is as the server's configuration says."""

    program: str
    best_of: int
    refine: int
    model: str
    force: bool
    budget: Budget
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class _Answer:
    @classmethod
    def of(cls, value: Any) -> Self:
        """An answer of the server; what this version does not know of it is left out.

        Raises:
            ProviderError: It is no such answer.
        """
        names = [one.name for one in fields(cls) if one.name != "document"]
        if not isinstance(value, Mapping) or not value.keys() >= set(names):
            raise ProviderError(
                f"The server's answer is no {cls.__name__.lower()}.",
                hint="Is it a skill-fleet server, and of a version near this one?",
                code="unreadable_answer",
            )
        return cls(**{name: value[name] for name in names})


@dataclass(frozen=True)
class Started(_Answer):
    """A job that is in the queue.

    Attributes:
        job_id: Its name, and that of its run.
        status: How it stands.
        message: What it is at, one sentence.
    """

    job_id: str
    status: Status
    message: str


@dataclass(frozen=True)
class Job(_Answer):
    """A job as it stands. Times are ISO 8601 in UTC, null until they are known.

    Attributes:
        job_id: Its name, and that of its run.
        kind: What is to be done.
        status: How it stands.
        progress: From 0 to 1; never falls.
        message: What it is at, one sentence.
        result: What came of it; of a stopped or cancelled job, what there is. None in a list, which has none.
        error: `code`, `message`, `hint` of why it did not succeed; `attempts` and `finish_reason` of a model
            call that was given up.
        estimated_finish: A guess from how it went so far.
        created_at: When it was asked for.
        started_at: When it was first taken up.
        finished_at: When it was over.
        updated_at: When anything of this last changed.
        attempt: How often it was put into the queue.
        crashes: How often its process died by itself since it last got further.
        deaths: How often its worker died under it since then, or its process was ended from outside.
        cost: `calls`, `possibly_billed` (without an answer), `usd` (null where that of a call is unknown),
            `usd_range` (known, and at most; null where that has no bound), `usd_unknown_calls`.
        budget: `max_cost`, `max_calls`, `max_tokens`, `max_minutes` in force; null is no cap.
        metadata: The client's own words.
        simulated: Whether a rule-based simulator answers instead of a model; null until known.
        document: All of that as the server sent it, its links and what this version does not know included.
    """

    job_id: str
    kind: Kind
    status: Status
    progress: float
    message: str
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    estimated_finish: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    attempt: int
    crashes: int
    deaths: int
    cost: Mapping[str, Any]
    budget: Mapping[str, Any]
    metadata: Mapping[str, Any]
    simulated: bool | None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    @override
    def of(cls, value: Any) -> Self:
        """A job as the server sent it.

        Raises:
            ProviderError: It is none.
        """
        # A list has no results, and a server of an earlier version counts neither crashes nor deaths.
        added = {"result": None, "crashes": 0, "deaths": 0}
        whole = {**added, **value} if isinstance(value, Mapping) else value
        return replace(super().of(whole), document=value)

    @property
    def over(self) -> bool:
        """Whether nothing will happen to it by itself."""
        return self.status in OVER


@dataclass(frozen=True)
class JobPage:
    """A page of a list of jobs, newest first.

    Attributes:
        jobs: Of this page.
        next_cursor: Where the next page begins; None where this is the last.
    """

    jobs: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Event(_Answer):
    """One thing that happened to a job.

    Attributes:
        number: Position in the job's stream, from 1, without gaps.
        at: ISO 8601, UTC.
        kind: As of a run's events, or of the job: `queued`, `taken_up`, `asked`, `handed_back`, `crashed`,
            `worker_died`, `interrupted_from_outside`, `status`.
        data: What belongs to the kind.
    """

    number: int
    at: str
    kind: str
    data: Mapping[str, Any]
