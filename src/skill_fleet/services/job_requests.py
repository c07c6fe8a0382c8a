"""What a client may ask of a job: read strictly, and turned into what the services take.

A client names models as they are registered, skills by their taxonomy path and artifacts by their place below
`config/optimized`. It never names a file, an address or code.
"""

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from skill_fleet.config.paths import Workspace
from skill_fleet.config.settings import OptimizationDefaults, Phase, Settings
from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.services.context import Context, open_context

_LONGEST_METADATA = 16_384
_DEEPEST = 5
_MOST_KEYS = 100
"""Of an object whose keys are checked one by one: an error for each of a million would take a gigabyte."""
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Natural = Annotated[int, Field(ge=0, le=1_000_000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
# Up to the first that is wrong: an error for each of thousands would take longer than all the rest.
_Items = Annotated[list[dict[str, Any]], Field(min_length=1, max_length=20_000, fail_fast=True)]


def _few_keys(given: Any) -> Any:
    """What was given, where it is no object of more keys than any is asked for.

    Raises:
        ValueError: It is.
    """
    if isinstance(given, dict) and len(given) > _MOST_KEYS:
        raise ValueError(f"it has {len(given)} keys, and {_MOST_KEYS} are the most")
    return given


class Body(BaseModel):
    """A JSON object: no unknown field, and no value that only looks like the right one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, given: Any) -> Any:
        return _few_keys(given)


class BudgetBody(Body):
    """Caps over everything a job does, over all its attempts; null is the configured one."""

    max_cost: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, description="US dollars.")] | None = (
        None
    )
    max_calls: Annotated[int, Field(ge=0, le=10**12)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=10**15)] | None = None
    max_minutes: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] | None = None


class _JobBody(Body):
    budget: BudgetBody | None = None
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="The client's own words: kept with the job, and shown with it."
    )


class OptimizationBody(_JobBody):
    """What to optimize with, and how far; whatever is left out is as the server's configuration says."""

    optimizer: Name | None = Field(None, description="See `GET /optimization/optimizers`; or `auto`.")
    training_paths: Annotated[list[Name], Field(min_length=1, max_length=3000)] = Field(
        default_factory=list,
        description="Gold skills of the library: taxonomy paths; a folder is every skill below it.",
    )
    trainset: _Items | None = Field(
        None, description="The training set itself, item by item, in place of `training_paths`."
    )
    auto: Literal["light", "medium", "heavy"] | None = Field(None, description="How far to search.")
    trials: Count | None = Field(None, description="In place of `auto`: the optimizer's own measure.")
    rounds: Count | None = Field(None, description="Most rounds; each starts from the best so far.")
    max_bootstrapped_demos: Natural | None = None
    max_labeled_demos: Natural | None = None
    save_path: Name | None = Field(
        None, description="Where the program is published: a .json file below `config/optimized`."
    )
    seed: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    num_threads: Annotated[int, Field(ge=1, le=256)] | None = None
    prefer: Literal["quality", "cheaper"] | None = None
    min_groups: Count | None = None
    folds: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    repeats: Count | None = None
    modules: Annotated[list[Name], Field(max_length=100)] = Field(
        default_factory=list, description="Only these predictors are optimized."
    )
    models: Annotated[dict[Phase, Name], BeforeValidator(_few_keys)] = Field(
        default_factory=dict, description="Phase to model, by the name under which it is registered."
    )


class CreationBody(_JobBody):
    """A skill that is to be written."""

    task: Annotated[str, Field(min_length=1, max_length=20_000)]
    program: Name | None = Field(None, description="An optimized program's file below `config/optimized`.")
    best_of: Annotated[int, Field(ge=1, le=1000)] | None = None
    refine: Annotated[int, Field(ge=1, le=1000)] | None = None
    model: Name | None = Field(None, description="A registered model.")
    force: bool = Field(default=False, description="Replace a skill of that name that is there.")


class ResumeBody(Body):
    """How to go on with a job."""

    budget: BudgetBody | None = Field(None, description="Caps in place of those it had; null keeps them.")


_B = TypeVar("_B", bound=Body)

_SETTINGS_OF_A_RUN = tuple(OptimizationDefaults.model_fields)


def optimization_request(context: Context, body: Mapping[str, Any]) -> dict[str, Any]:
    """The request of an optimization job, as it is kept: what was given, and the caps in force.

    Raises:
        UsageError: A field is unknown or wrong; the sentence names it.
        UnknownName: A model is not registered.
    """
    read = read_body(OptimizationBody, body)
    for name in read.models.values():
        _registered(context.settings, name)
    if read.save_path is not None:
        artifact_place(context.workspace, "save_path", read.save_path)
    return _kept(context.settings, read)


def creation_request(context: Context, body: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a job that writes a skill, as it is kept.

    Raises:
        UsageError: A field is unknown or wrong; the sentence names it.
        UnknownName: The model is not registered.
    """
    read = read_body(CreationBody, body)
    if not read.task.strip():
        raise UsageError("task is empty.", hint="Say what an agent should be able to do.")
    if read.model is not None:
        _registered(context.settings, read.model)
    if read.program is not None:
        artifact_place(context.workspace, "program", read.program)
    return _kept(context.settings, read)


def optimization_asked(context: Context, request: Mapping[str, Any]) -> tuple[Context, dict[str, Any]]:
    """What `request_of` takes for the request of a job: settings with its flags, and the rest of it."""
    given = {name: request.get(name) for name in _SETTINGS_OF_A_RUN}
    flags = {f"optimization.{name}": value for name, value in given.items() if value is not None}
    asked: dict[str, Any] = {
        "training_paths": tuple(request.get("training_paths") or ()),
        "modules": tuple(request.get("modules") or ()),
        "models": dict(request.get("models") or {}),
    }
    if request.get("trainset") is not None:
        asked["trainset"] = tuple(request["trainset"])
    if request.get("save_path") is not None:
        asked["output"] = str(artifact_place(context.workspace, "save_path", request["save_path"]))
    return _with(context, flags, request), asked


def creation_asked(context: Context, request: Mapping[str, Any]) -> tuple[Context, dict[str, Any]]:
    """The fields of `CreationRequest` without its caps, and the settings with those."""
    names = ("task", "best_of", "refine", "model", "force")
    asked = {name: request[name] for name in names if request.get(name) is not None}
    if request.get("program") is not None:
        place = artifact_place(context.workspace, "program", request["program"])
        asked["program"] = context.workspace.relative(place)  # it is in the result, which clients see
    return _with(context, {}, request), asked


def artifact_place(workspace: Workspace, field: str, text: str) -> Path:
    """The file below `config/optimized` that a client means.

    Args:
        workspace: Whose.
        field: What the client calls it, for the message.
        text: As given; a leading `config/optimized/` says nothing new.

    Raises:
        UsageError: It is no .json file there, or a link leads out of that folder; the code is `path`.
    """
    parts = text.removeprefix("config/optimized/").split("/")
    plain = len(parts) <= _DEEPEST and all(_PART.fullmatch(part) for part in parts)
    plain = plain and "versions" not in parts[:-1]  # earlier programs, which are never replaced
    place = workspace.optimized
    file = place.joinpath(*parts) if plain else place
    wrong = not plain or file.suffix != ".json" or file.name.endswith(".manifest.json")
    if wrong or not file.resolve().is_relative_to(place.resolve()) or file.is_symlink():
        raise UsageError(
            f"{field} {text[:80]!r} cannot be used: it is no .json file below config/optimized.",
            hint="Letters, digits, '.', '_' and '-', for example skill_creator.json.",
            code="path",
        )
    return file


def read_body(kind: type[_B], body: Mapping[str, Any]) -> _B:
    """A body as its type.

    Raises:
        UsageError: A field is unknown, missing or wrong; of several the first is named.
    """
    try:
        read = kind.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise wrong_field(kind, first["loc"], first["type"], first["msg"]) from None
    if isinstance(read, _JobBody):
        _check_metadata(read.metadata)
    return read


def wrong_field(kind: type[BaseModel], loc: tuple[int | str, ...], found: str, said: str) -> UsageError:
    """What is wrong with a field, in one sentence.

    Args:
        kind: Of the body.
        loc: Where, from the body down.
        found: Kind of the error, as pydantic names it.
        said: The error in pydantic's words.
    """
    where = ".".join(str(part)[:80] for part in loc) or "The body"
    if found == "extra_forbidden":
        known = list(BudgetBody.model_fields if loc[0] == "budget" else kind.model_fields)
        near = difflib.get_close_matches(str(loc[-1])[:80], known, n=1, cutoff=0.6)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(known)}."
        return UsageError(f"{where} is not a field of this request.", hint=hint, code="body")
    if found == "missing":
        return UsageError(f"{where} is missing.", code="body")
    return UsageError(f"{where} is wrong: {said.removeprefix('Value error, ')}.", code="body")


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    try:
        length = len(json.dumps(metadata, allow_nan=False))
    except (ValueError, RecursionError):
        raise UsageError("metadata is wrong: it is not JSON.", code="body") from None
    if length > _LONGEST_METADATA:
        raise UsageError(f"metadata is wrong: it has more than {_LONGEST_METADATA} characters.", code="body")


def _kept(settings: Settings, read: _JobBody) -> dict[str, Any]:
    given = read.model_dump(exclude_unset=True, exclude={"budget", "metadata"})
    asked = read.budget.model_dump(exclude_none=True) if read.budget else {}
    kept = {name: value for name, value in given.items() if value is not None}
    return {**kept, "budget": {**settings.budget.model_dump(), **asked}}


def _registered(settings: Settings, name: str) -> None:
    if name not in settings.models.registry:
        raise UnknownName("model", name, settings.models.registry)


def _with(context: Context, flags: Mapping[str, Any], request: Mapping[str, Any]) -> Context:
    """The context with what the request sets; its caps are those of the request alone."""
    loaded = context.loaded
    caps = {f"budget.{name}": value for name, value in (request.get("budget") or {}).items()}
    return open_context(
        loaded.workspace.root,
        flags={**flags, **caps},
        environ=loaded.environ,
        clock=context.clock,
        models=context.models,
    )
