"""Programs by name: the built-in one, or a person's own as `module:Class`."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.domain.trainset import SKILL_INPUTS
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import DataError, UnknownName, UsageError

BUILT_IN = "SkillCreationProgram"


@dataclass(frozen=True)
class ProgramEntry:
    """A program that can be built.

    Attributes:
        name: `SkillCreationProgram` or `module:Class`.
        build: Makes a fresh, unoptimized program.
        inputs: Names of its input fields.
        makes_skills: Whether it is the skill program, whose data has the skill inputs.
    """

    name: str
    build: Callable[[], dspy.Module]
    inputs: tuple[str, ...]
    makes_skills: bool


def find_program(name: str, *, search: Path | None = None) -> ProgramEntry:
    """A program by its name.

    Args:
        name: `SkillCreationProgram`, or `module:Class` for a `dspy.Module` that is built without arguments.
        search: A directory in which modules are looked up before the installed ones.

    Raises:
        UnknownName: No such built-in program.
        UsageError: The module or the class cannot be used; the sentence says why.
    """
    if ":" in name:
        return _imported(name, search)
    from skill_fleet.core.programs.skill_creator import SkillCreationProgram

    if name != BUILT_IN:
        raise UnknownName("program", name, [BUILT_IN])
    return ProgramEntry(BUILT_IN, SkillCreationProgram, SKILL_INPUTS, makes_skills=True)


def import_object(reference: str, what: str, search: Path | None = None) -> Any:
    """What `module:attribute` names.

    Raises:
        UsageError: It cannot be imported; the sentence names the module and the cause.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"--{what} '{reference}' is not of the form module:Name.")
    place = str(search) if search is not None else None
    if place is not None and place not in sys.path:
        sys.path.insert(0, place)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"--{what} '{reference}': the module cannot be imported: {error}.") from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"--{what} '{reference}': the module fails on import: {type(error).__name__}: {error}."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"--{what} '{reference}': {module_name} has no '{attribute}'.")
        found = getattr(found, part)
    return found


def _imported(name: str, search: Path | None) -> ProgramEntry:
    found = import_object(name, "program", search)

    # Nothing but a module is called: the name may come from a file.
    if not isinstance(found, dspy.Module) and not (
        isinstance(found, type) and issubclass(found, dspy.Module)
    ):
        raise UsageError(f"--program '{name}' is not a dspy.Module.")

    def build() -> dspy.Module:
        if isinstance(found, dspy.Module):
            return found.deepcopy()
        try:
            return found()
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"--program '{name}' cannot be built without arguments: {type(error).__name__}: {error}."
            ) from error

    program = build()
    if not program.named_predictors():
        raise UsageError(f"--program '{name}' has no predictor, so there is nothing to optimize.")
    for part, predictor in program.named_predictors():
        if getattr(predictor, "lm", None) is not None:
            raise UsageError(
                f"--program '{name}': the predictor {part} holds a model of its own, which no journal sees.",
                hint="Leave it out: --model says which model the program runs with.",
            )
    return ProgramEntry(name, build, input_fields(program), makes_skills=False)


def input_fields(program: dspy.Module) -> tuple[str, ...]:
    """The names of a program's inputs: those of `forward`, or of the signature of a bare predictor."""
    signature = getattr(program, "signature", None)
    if signature is not None and hasattr(signature, "input_fields"):
        return tuple(signature.input_fields)
    if isinstance(getattr(program, "predict", None), dspy.Predict):  # ChainOfThought and the like
        return tuple(program.predict.signature.input_fields)
    parameters = _forward_parameters(program).values()
    kinds = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)


def check_fields(entry: ProgramEntry, names: Sequence[str], source: str) -> tuple[str, ...]:
    """Which of the data's fields are the program's inputs.

    Raises:
        DataError: A required input is in no item, or no input is.
    """
    if entry.makes_skills:
        return SKILL_INPUTS
    wanted = entry.inputs or tuple(names)
    present = tuple(name for name in wanted if name in names)
    missing = [name for name in wanted if name not in names and name in _required(entry)]
    if missing or not present:
        raise DataError(
            f"{source} has no field '{(missing or list(wanted))[0]}', which the program {entry.name} takes "
            f"(fields there are: {', '.join(names)})."
        )
    return present


def _required(entry: ProgramEntry) -> set[str]:
    program = entry.build()
    if hasattr(program, "signature") or isinstance(getattr(program, "predict", None), dspy.Predict):
        return set(entry.inputs)
    named = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    parameters = _forward_parameters(program)
    return {n for n, p in parameters.items() if p.kind in named and p.default is inspect.Parameter.empty}


def _forward_parameters(program: dspy.Module) -> dict[str, inspect.Parameter]:
    """The parameters of `forward` without `self`; read off the class, since DSPy warns of the bound one."""
    parameters = dict(inspect.signature(type(program).forward).parameters)
    parameters.pop(next(iter(parameters), ""), None)
    return parameters


def source_digest(program: dspy.Module) -> str:
    """A digest of a program's code and starting state.

    It covers the source of the module that defines it (which MIPROv2 puts into its prompts) and of the
    modules of its sub-programs, and the state it starts from (instructions, demos, fields).
    """
    sources = {}
    for _, module in program.named_sub_modules():
        kind = type(module)
        if kind.__module__.split(".")[0] not in {"dspy", "builtins"}:
            sources[f"{kind.__module__}:{kind.__qualname__}"] = _source(kind)
    return digest([sources, clean_state(program)])


def clean_state(program: dspy.Module) -> dict[str, Any]:
    """A program's state without its language models: instructions, demos and fields, a recipe's members'."""
    return without_models(program.dump_state())


def without_models(state: Mapping[str, Any]) -> dict[str, Any]:
    """A program's state without models: one loaded from a file would call past journal and budget."""
    return {name: _without_model(part) for name, part in state.items()}


def _without_model(part: Any) -> Any:
    if isinstance(part, list):  # the members of a recipe
        return [without_models(member) if isinstance(member, dict) else member for member in part]
    # DSPy wants the key when it loads a state.
    return {**part, "lm": None} if isinstance(part, dict) and "lm" in part else part


def program_hash(program: dspy.Module) -> str:
    """sha256 of what optimization changes: instructions, demos and fields."""
    return digest(clean_state(program))


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return hashlib.sha256(kind.__qualname__.encode()).hexdigest()
