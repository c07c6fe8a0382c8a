"""Jobs as clients get them, and what is answered before there is one: for OpenAPI, and what tests go by."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from skill_fleet.api import examples
from skill_fleet.api.schemas import Answer, Share, example
from skill_fleet.jobs.records import Kind, Status

Interval = Annotated[list[float], Field(min_length=2, max_length=2, description="Lowest and highest.")]


class Links(Answer):
    """Where to go on from a job."""

    self: str
    events: str
    result: str
    report: str
    cancel: str
    pause: str
    resume: str


class Started(Answer):
    """A job that is in the queue."""

    model_config = example(examples.STARTED)

    job_id: str
    status: Status
    message: str
    links: Links


class Spent(Answer):
    """What a job has spent; `usd` is null where the cost of a call is not known, and these are counted."""

    calls: int
    possibly_billed: int = Field(description="Calls without an answer that may have been billed.")
    usd: float | None
    usd_range: Annotated[
        list[float | None],
        Field(min_length=2, max_length=2, description="Known, and at most; null where that has no bound."),
    ]
    usd_unknown_calls: int


class Caps(Answer):
    """Caps of a job; null is no cap."""

    max_cost: float | None
    max_calls: int | None
    max_tokens: int | None
    max_minutes: float | None


class JobError(BaseModel):
    """Why a job did not succeed."""

    code: str
    message: str
    hint: str = ""
    attempts: Annotated[
        int | None, Field(description="Made at the model call that was given up; null where none was.")
    ] = None
    finish_reason: Annotated[
        str | None,
        Field(description="Why the provider ended the answer of that call; null where it did not say."),
    ] = None


class JobSummary(Answer):
    """A job as lists have it: all but its result."""

    model_config = example(examples.JOB_SUMMARY)

    job_id: str
    kind: Kind
    status: Status
    progress: Share
    message: str
    error: JobError | None
    estimated_finish: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    attempt: int
    crashes: int
    deaths: int
    cost: Spent
    budget: Caps
    metadata: dict[str, Any]
    simulated: bool | None
    links: Links


class JobView(JobSummary):
    """A job as it stands."""

    model_config = example(examples.JOB)

    result: dict[str, Any] | None


class JobPage(Answer):
    """Jobs, newest first."""

    jobs: list[JobSummary]
    next_cursor: str | None


class Event(Answer):
    """One thing that happened to a job; `number` counts from 1 without gaps."""

    model_config = example(examples.EVENT)

    number: int
    at: str
    kind: str
    data: dict[str, Any]


class EventPage(Answer):
    """Events after a number; `over` says that no more will come, `last` what `after` to ask with next."""

    events: list[Event]
    last: int
    over: bool


class Cancelling(Answer):
    """A job that is being cancelled."""

    job_id: str
    status: Literal["cancelling"]


class Parameter(Answer):
    """What an optimizer can be told."""

    name: str
    type: str
    default: Any
    range: str
    meaning: str


class Optimizer(BaseModel):
    """A way to make a program better: what it changes, needs, costs and can be told."""

    name: str
    description: str
    changes: list[str]
    needs: str
    cost: str
    parameters: list[Parameter]
    capabilities: dict[str, Any]
    default: bool
    package: str
    version: str


class Unusable(Answer):
    """An optimizer of another package that cannot be used, and why."""

    name: str
    package: str
    version: str
    problem: str


class Optimizers(Answer):
    """Every optimizer there is."""

    optimizers: list[Optimizer]
    unusable: list[Unusable]


class Price(BaseModel):
    """Where a run is likely to end; dollars are null where a price is unknown."""

    calls: Interval
    tokens: Interval
    usd: Interval | None
    minutes: Interval


class Warned(BaseModel):
    """Something to know before anything is spent."""

    code: str
    message: str


class Estimate(Price):
    """What a job would take; nothing is spent by asking."""

    program: str
    optimizer: str
    model: str
    simulated: bool
    examples: dict[str, int]
    by_phase: dict[str, Any]
    by_model: dict[str, Any]
    sized_by: str
    warnings: list[Warned]


class Considered(BaseModel):
    """An optimizer that was considered, its price, and what speaks against it."""

    optimizer: str
    price: Price
    code: str
    reason: str


class Recommendation(BaseModel):
    """Which optimizer for a request, and the rule that decided; null where none fits the caps."""

    optimizer: str | None
    rule: str
    reason: str
    options: list[Considered]
    program: str
    model: str
    simulated: bool
    situation: dict[str, Any]


class Configuration(BaseModel):
    """The configuration in force, without secrets."""
