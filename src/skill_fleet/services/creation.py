"""Create a skill: run the program, choose the best of its drafts, check it, put it in its place."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import dspy
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.core.dspy.attempts import MOST
from skill_fleet.core.dspy.step_names import StepNames
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import BUILT_IN, find_program
from skill_fleet.core.programs.history import exclusive
from skill_fleet.core.programs.recipes.sampled import refined
from skill_fleet.domain.library import Library
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid
from skill_fleet.domain.taxonomy import tree_of
from skill_fleet.evaluation.guard import guard
from skill_fleet.evaluation.reward import skill_reward
from skill_fleet.foundation.errors import ProviderError, SkillFleetError, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.listening import Ear, Listener, heard_by
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.drafts import Draft, check_output, write_draft
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
        `findings`, `drafts` (the quality of each), `program`, `notes` on it and on drafts left out, `model`,
        `simulated`, `calls`, what of `bill`, and `error`: what stopped it before all were made, or null.

    Raises:
        DataError: A skill is already there, or no draft is a valid skill.
        StorageError: The skill cannot be written.
        BudgetExhausted: A cap was reached before there was a draft.
        ProviderError: The model failed.
    """
    program, notes = _program(context, request)
    check_output(context, request.output)
    paths = known_paths(context) if repeatable is None else repeatable.paths
    with metered(context, "create", model=request.model, limits=request.limits, control=control) as model:
        drafts: list[Draft] = []
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
    if stopped is None and len(drafts) < request.best_of:
        left_out = request.best_of - len(drafts)
        notes = (*notes, f"{left_out} of {request.best_of} drafts did not have the form that was asked for.")
    with exclusive(context.workspace.state):  # nobody writes one of the same name after it was looked for
        announced = repeatable is not None and repeatable.announce(best.skill.render())
        path = write_draft(context, best, output=request.output, force=request.force, announced=announced)
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


def _drafts(
    request: CreationRequest,
    paths: Sequence[str],
    program: dspy.Module,
    model: Metered,
    on_draft: OnDraft | None,
    reader: Reader | None,
) -> Iterator[Draft]:
    inputs = {
        "task_description": request.task,
        "user_context": "{}",
        "taxonomy_structure": json.dumps(tree_of(paths), ensure_ascii=False),
        "existing_skills": json.dumps(list(paths), ensure_ascii=False),
    }
    whole = max(request.best_of, request.refine)
    if on_draft is not None:
        on_draft(0, whole)
    with _readable(request):
        made = _predictions(request, program, model, inputs, reader)
        for number, prediction in enumerate(made, start=1):
            skill = Skill.parse(str(prediction.skill_content))
            quality = guard(skill, request.task).value
            yield Draft(skill, str(prediction.name), str(prediction.taxonomy_path), check(skill), quality)
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
    """Drafts, the first as asked for and the others drawn anew; one that cannot be read is left out.

    Raises:
        AdapterParseError: None could be read; the error of the first.
    """
    # What cannot be read is in the journal: the same command would never get beyond it.
    failure: AdapterParseError | None = None
    readable = 0
    for rollout in range(number):
        lm = model.lm if rollout == 0 else model.lm.copy(rollout_id=rollout, temperature=1.0)
        try:
            with dspy.context(lm=lm):
                made = program(**inputs)
        except AdapterParseError as error:
            failure = failure or error
            continue
        readable += 1
        yield made
    if not readable and failure is not None:
        raise failure


@contextmanager
def _readable(request: CreationRequest) -> Iterator[None]:
    """Answers without form are the model's failure."""
    try:
        yield
    except AdapterParseError as error:
        option, drafts = (
            ("--refine", request.refine) if request.refine > 1 else ("--best-of", request.best_of)
        )
        more = f", or {option} {min(2 * drafts, MOST)}" if drafts < MOST else ""
        each = f", in none of {drafts} drafts" if drafts > 1 else ""
        raise ProviderError(
            f"The model's answer does not have the form that was asked for, twice{each}.",
            hint=f"Try another model{more}.",
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
