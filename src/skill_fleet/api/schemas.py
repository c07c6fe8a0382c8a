"""What clients send and get, as OpenAPI tells it: bodies are checked by these, answers tested by them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from skill_fleet.api import examples
from skill_fleet.jobs.records import Kind, Status
from skill_fleet.services.job_requests import Body

MOST_PATHS = 3000

Path = Annotated[str, Field(min_length=1, max_length=2000, description="A path of the library.")]
Task = Annotated[str, Field(max_length=20_000, description="What the skill was asked for.")]
Content = Annotated[str, Field(max_length=262_144, description="A whole SKILL.md.")]
FolderName = Annotated[str, Field(min_length=1, max_length=200, description="Of the folder it is for.")]
Share = Annotated[float, Field(ge=0, le=1)]


def _example(value: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class EvaluateBody(Body):
    """A skill of the library, or a folder of skills."""

    model_config = _example(examples.EVALUATE_BODY)

    path: Path
    task: Task = ""


class EvaluateContentBody(Body):
    """A text that is in no library."""

    model_config = _example(examples.CONTENT_BODY)

    content: Content
    name: FolderName | None = None
    task: Task = ""


class EvaluateBatchBody(Body):
    """Many skills of the library, or folders of them."""

    model_config = _example(examples.BATCH_BODY)

    paths: Annotated[list[Path], Field(min_length=1, max_length=MOST_PATHS)]


class ValidateBody(Body):
    """A skill or folder of the library, or a text: one of the two."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [examples.VALIDATE_BODY],
            "oneOf": [{"required": ["path"]}, {"required": ["content"]}],
        }
    )

    path: Path = ""
    content: Content = ""
    name: FolderName | None = None
    profile: Annotated[str, Field(description="`spec`, `claude` or `strict`.")] = "spec"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set & {"path", "content"}) != 1:
            raise ValueError("give either path or content")
        return self


class Answer(BaseModel):
    """What the service answers: never a field that is not named here."""

    model_config = ConfigDict(extra="forbid")


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

    model_config = _example(examples.STARTED)

    job_id: str
    status: Status
    message: str
    links: Links


class Spent(Answer):
    """What a job has spent; `usd` is null where no price is known, and unknown calls are counted."""

    calls: int
    usd: float | None
    usd_unknown_calls: int


class Caps(Answer):
    """Caps of a job; null is no cap."""

    max_cost: float | None
    max_calls: int | None


class JobError(BaseModel):
    """Why a job did not succeed."""

    code: str
    message: str
    hint: str = ""


class JobView(Answer):
    """A job as it stands."""

    model_config = _example(examples.JOB)

    job_id: str
    kind: Kind
    status: Status
    progress: Share
    message: str
    result: dict[str, Any] | None
    error: JobError | None
    estimated_finish: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    updated_at: str
    attempt: int
    cost: Spent
    budget: Caps
    metadata: dict[str, Any]
    simulated: bool | None
    links: Links


class JobPage(Answer):
    """Jobs, newest first."""

    jobs: list[JobView]
    next_cursor: str | None


class Event(Answer):
    """One thing that happened to a job; `number` counts from 1 without gaps."""

    model_config = _example(examples.EVENT)

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


class Finding(Answer):
    """One thing to know about a SKILL.md."""

    code: str
    severity: Literal["error", "warning", "info"]
    line: int
    message: str
    hint: str


class CheckedSkill(Answer):
    """What the rules say of a skill; `path` is null for a text that is in no library."""

    path: str | None
    name: str | None
    valid: bool
    findings: list[Finding]


class ScoredSkill(CheckedSkill):
    """A skill's quality, the guard's: a floor computed from its text, no model involved."""

    quality: Share
    parts: dict[str, Share]
    feedback: str


class Thresholds(Answer):
    """Quality from which a skill is acceptable, on target, excellent."""

    acceptable: Share
    target: Share
    excellent: Share


class Evaluated(Answer):
    """Skills and their quality."""

    skills: list[ScoredSkill]
    mean: Share | None
    thresholds: Thresholds


class PathError(Answer):
    """A path that has no score, and why."""

    path: str
    code: str
    message: str


class EvaluatedBatch(Evaluated):
    """As `Evaluated`, with the paths that have no score."""

    errors: list[PathError]


class Component(Answer):
    """A part of quality."""

    name: str
    weight: Share
    essential: bool
    description: str


class MetricsInfo(Answer):
    """What quality is made of: `weighted_mean` of the components plus `weakest_essential` of the weakest."""

    components: list[Component]
    formula: dict[str, Share]
    scale: list[float]
    weights: dict[str, float]
    thresholds: Thresholds
    targets: dict[str, float]


class Validated(Answer):
    """Skills and what the rules say of them; `valid` when none has an error."""

    valid: bool
    profile: str
    skills: list[CheckedSkill]


class SkillLine(Answer):
    """A skill of the library in short."""

    path: str
    name: str | None
    description: str | None
    taxonomy_path: str | None
    file: str
    links: dict[str, str]


class SkillPage(Answer):
    """Skills in the order of their paths; `left_out` counts those whose folders no path can name."""

    skills: list[SkillLine]
    total: int
    left_out: int
    next_cursor: str | None


class SkillView(SkillLine):
    """A skill of the library: its text, what was read from it, and what is to be said of it."""

    fields: dict[str, Any]
    body: str
    content: str
    sha256: str
    valid: bool
    findings: list[Finding]
