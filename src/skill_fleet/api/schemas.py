"""Skills as clients send and get them: bodies are checked by these, answers are tested against them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from skill_fleet.api import examples
from skill_fleet.services.job_requests import Body

MOST_PATHS = 3000

Path = Annotated[str, Field(min_length=1, max_length=2000, description="A path of the library.")]
Task = Annotated[str, Field(max_length=20_000, description="What the skill was asked for.")]
Content = Annotated[str, Field(max_length=262_144, description="A whole SKILL.md.")]
FolderName = Annotated[str, Field(min_length=1, max_length=200, description="Of the folder it is for.")]
Share = Annotated[float, Field(ge=0, le=1)]


def example(value: Any) -> ConfigDict:
    """The configuration of a model with an example."""
    return ConfigDict(json_schema_extra={"examples": [value]})


class EvaluateBody(Body):
    """A skill of the library, or a folder of skills."""

    model_config = example(examples.EVALUATE_BODY)

    path: Path
    task: Task = ""


class EvaluateContentBody(Body):
    """A text that is in no library."""

    model_config = example(examples.CONTENT_BODY)

    content: Content
    name: FolderName | None = None
    task: Task = ""


class EvaluateBatchBody(Body):
    """Many skills of the library, or folders of them."""

    model_config = example(examples.BATCH_BODY)

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
