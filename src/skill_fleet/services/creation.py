"""Create a skill: run the program, choose the best of its drafts, check it, put it in its place."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import dspy

from skill_fleet.core.dspy.attempts import MOST
from skill_fleet.core.dspy.step_names import StepNames
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import BUILT_IN, find_program
from skill_fleet.core.programs.history import exclusive
from skill_fleet.core.programs.recipes.sampled import refined
from skill_fleet.domain.finding import Finding
from skill_fleet.domain.library import Library
from skill_fleet.domain.skill import SKILL_FILE, Skill
from skill_fleet.domain.spec import check, is_valid
from skill_fleet.domain.taxonomy import tree_of
from skill_fleet.evaluation.guard import guard
from skill_fleet.evaluation.reward import skill_reward
from skill_fleet.foundation.errors import DataError, ProviderError, SkillFleetError, StorageError, UsageError
from skill_fleet.foundation.files import write_bytes
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.listening import Ear, Listener, heard_by
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.findings import finding_json
from skill_fleet.services.metered import Metered, metered, without_run
from skill_fleet.services.programs import notes_of

OnDraft = Callable[[int, int], None]


class Reader(Listener, Protocol):
    """Who reads a skill while it is written."""

    def step(self, name: str) -> None:
        """The program takes a step, by the name of its predictor."""
        ...


@dataclass(frozen=True)
class CreationRequest:
    """A skill as it was asked for.

    Attributes:
        task: What somebody wants an agent to be able to do.
        program: An optimized program's file; None is the plain program.
        best_of: Drafts, of which the best is kept.
        refine: Drafts, each after the first with the model's advice on the one before; the best is kept.
        model: In place of the configured one.
        output: A folder to write `<name>/SKILL.md` into; None is the skill's place in the library.
        force: Replace a skill that is there.
        limits: Caps on all of it.
    """

    task: str
    program: str | None = None
    best_of: int = 1
    model: str | None = None
    output: str | None = None
    force: bool = False
    limits: Limits = field(default_factory=Limits)
    refine: int = 1

    def __post_init__(self) -> None:
        if not self.task.strip():
            raise UsageError("--task is empty.", hint="Say what an agent should be able to do.")
        for option, number in (("--best-of", self.best_of), ("--refine", self.refine)):
            if not 1 <= number <= MOST:
                raise UsageError(f"{option} must be between 1 and {MOST}, not {number}.")
        if self.best_of > 1 and self.refine > 1:
            raise UsageError("--best-of and --refine exclude each other: both say how many drafts to make.")


@dataclass(frozen=True)
class Repeatable:
    """What makes a creation that was cut off the same when it is done again.

    Attributes:
        paths: Of the library, as they were when it was first begun: they are in the prompts.
        announce: Told of what is about to be written; says whether it was told of the same before, so that a
            skill found in its place is its own. Where it raises nothing is written.
    """

    paths: Sequence[str]
    announce: Callable[[bytes], bool]


@dataclass(frozen=True)
class _Draft:
    skill: Skill
    name: str
    taxonomy_path: str
    findings: tuple[Finding, ...]
    quality: float


def create_skill(
    context: Context,
    request: CreationRequest,
    *,
    control: Control | None = None,
    on_draft: OnDraft | None = None,
    reader: Reader | None = None,
    repeatable: Repeatable | None = None,
) -> dict[str, Any]:
    """Write one skill.

    Args:
        context: Settings and workspace.
        request: What is wanted.
        control: The user's hand on it.
        on_draft: Told at the beginning and after each draft: how many there are, of how many.
        reader: Shown what the model writes while it does. Nothing else changes by it.
        repeatable: What to go by where it can be done again; it is then written whole or not at all: what
            stops it is raised, also with drafts at hand.

    Returns:
        `path`, `name`, `taxonomy_path`, `description`, `quality` (the guard's, in [0, 1]), `parts`,
        `findings`, `drafts` (the quality of each), `program`, `notes` on it, `model`, `simulated`, `calls`,
        what of `bill`, and `error`: why fewer drafts were made than asked for, or null.

    Raises:
        DataError: A skill is already there, or no draft is a valid skill.
        StorageError: The skill cannot be written.
        BudgetExhausted: A cap was reached before there was a draft.
        ProviderError: The model failed.
    """
    program, notes = _program(context, request)
    _check_output(context, request)
    paths = known_paths(context) if repeatable is None else repeatable.paths
    with metered(context, "create", model=request.model, limits=request.limits, control=control) as model:
        drafts: list[_Draft] = []
        stopped: SkillFleetError | None = None
        try:
            for draft in _drafts(request, paths, program, model, on_draft, reader):
                drafts.append(draft)  # noqa: PERF402 - those made before a halt are kept
        except Halt as halt:
            if not drafts or repeatable is not None:
                raise
            stopped = without_run(halt.error)
        best = max(drafts, key=lambda draft: (is_valid(draft.findings), draft.quality))
        costs = model.costs()
    with exclusive(context.workspace.state):  # nobody writes one of the same name after it was looked for
        announced = repeatable is not None and repeatable.announce(best.skill.render())
        path = _write(context, request, best, announced=announced)
    written = Skill.read(path)
    score = guard(written, request.task)
    return {
        "path": context.workspace.relative(path),
        "name": best.name,
        "taxonomy_path": best.taxonomy_path,
        "description": written.description,
        "quality": score.value,
        "parts": dict(score.parts),
        "findings": [finding_json(found) for found in check(written, folder=path.parent)],
        "drafts": [draft.quality for draft in drafts],
        "program": request.program or BUILT_IN,
        "notes": list(notes),
        "model": model.name,
        "simulated": model.simulated,
        **costs,
        "error": None if stopped is None else stopped.to_json(),
    }


def _program(context: Context, request: CreationRequest) -> tuple[dspy.Module, tuple[str, ...]]:
    if request.program is None:
        return find_program(BUILT_IN).build(), ()
    loaded = load_artifact(context.path(request.program), search=context.workspace.root)
    if not loaded.entry.makes_skills:
        raise UsageError(f"--program {request.program} holds {loaded.entry.name}, which writes no skills.")
    return loaded.program, notes_of(loaded)


def _check_output(context: Context, request: CreationRequest) -> None:
    """Whether the place can be written, as far as that is known before the skill has a name."""
    place = _folder(context, request.output) if request.output else context.workspace.skills
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    if not nearest.is_dir():
        raise StorageError(f"{place} cannot be written: {nearest} is not a directory.")


def _folder(context: Context, output: str) -> Path:
    return context.path(output).absolute()


def _drafts(
    request: CreationRequest,
    paths: Sequence[str],
    program: dspy.Module,
    model: Metered,
    on_draft: OnDraft | None,
    reader: Reader | None,
) -> Iterator[_Draft]:
    inputs = {
        "task_description": request.task,
        "user_context": "{}",
        "taxonomy_structure": json.dumps(tree_of(paths), ensure_ascii=False),
        "existing_skills": json.dumps(list(paths), ensure_ascii=False),
    }
    whole = max(request.best_of, request.refine)
    if on_draft is not None:
        on_draft(0, whole)
    with _readable():
        made = _predictions(request, program, model, inputs, reader)
        for number, prediction in enumerate(made, start=1):
            skill = Skill.parse(str(prediction.skill_content))
            quality = guard(skill, request.task).value
            yield _Draft(skill, str(prediction.name), str(prediction.taxonomy_path), check(skill), quality)
            if on_draft is not None:
                on_draft(number, whole)


def _predictions(
    request: CreationRequest,
    program: dspy.Module,
    model: Metered,
    inputs: Mapping[str, str],
    reader: Reader | None,
) -> Iterator[dspy.Prediction]:
    """What the program answers, the first as one would get it without asking for several."""
    if request.refine > 1:
        tried = refined(program, request.refine, skill_reward, inputs)
        drafts: Iterator[dspy.Prediction] = (one.prediction for one in tried)
    else:
        drafts = _drawn(request.best_of, program, model, inputs)
    ear = None if reader is None else Ear(reader)
    told = [] if reader is None else [StepNames(reader.step)]
    while True:
        watched = [*dspy.settings.callbacks, *told]
        with heard_by(ear), dspy.context(lm=model.lm, disable_history=True, callbacks=watched):
            made = next(drafts, None)
        if made is None:
            return
        yield made


def _drawn(
    number: int, program: dspy.Module, model: Metered, inputs: Mapping[str, str]
) -> Iterator[dspy.Prediction]:
    yield program(**inputs)
    for rollout in range(1, number):
        with dspy.context(lm=model.lm.copy(rollout_id=rollout, temperature=1.0)):
            made = program(**inputs)
        yield made


@contextmanager
def _readable() -> Iterator[None]:
    """An answer without form is the model's failure."""
    from dspy.utils.exceptions import AdapterParseError

    try:
        yield
    except AdapterParseError as error:
        raise ProviderError(
            "The model's answer does not have the form that was asked for, twice.",
            hint="Try another model, or --best-of 2.",
            code="unreadable_answer",
        ) from error


def known_paths(context: Context) -> list[str]:
    """The taxonomy paths of the library; a folder that is no path is not shown to the model."""
    library = Library(context.workspace.skills)
    found = []
    for file in library.files():
        try:
            found.append(library.taxonomy_path_of(file))
        except UsageError:
            continue
    return sorted(set(found))


def _write(context: Context, request: CreationRequest, best: _Draft, *, announced: bool) -> Path:
    if not is_valid(best.findings):
        first = next(found for found in best.findings if found.severity == "error")
        place = context.workspace.state / "drafts" / best.name / SKILL_FILE
        write_bytes(place, best.skill.render())
        raise DataError(
            f"The model wrote no valid skill: {first.message}",
            hint=f"The draft is in {context.workspace.relative(place)}.",
            code="invalid_draft",
        )
    if request.output is None:
        return _into_library(context, request, best, announced=announced)
    target = _folder(context, request.output) / best.name / SKILL_FILE
    if target.exists() and not request.force:
        raise DataError(
            f"There is already a skill at {target}.",
            hint="Use --force to replace it; the model's answers are kept, so that costs nothing.",
            code="exists",
        )
    write_bytes(target, best.skill.render())
    return target


def _into_library(context: Context, request: CreationRequest, best: _Draft, *, announced: bool) -> Path:
    library = Library(context.workspace.skills)
    try:
        library.address(best.taxonomy_path, best.name)
    except UsageError as error:
        raise DataError(
            f"The model gave no place in the library: {error.message}",
            hint="Name a folder: --output DIR. The model's answers are kept, so that costs nothing.",
        ) from None
    twin = next((file for file in library.files() if file.parent.name == best.name), None)
    if twin is None:
        return library.write(best.taxonomy_path, best.name, best.skill)
    if announced and Skill.read(twin).render() == best.skill.render():
        return twin
    if not request.force:
        raise DataError(
            f"There is already a skill of that name at {context.workspace.relative(twin)}.",
            hint="Use --force to replace it, or --output DIR to write it elsewhere.",
            code="exists",
        )
    write_bytes(twin, best.skill.render())
    return twin
