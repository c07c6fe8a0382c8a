"""Where a draft of a skill goes: into the library, or into a folder that was named."""

from dataclasses import dataclass
from pathlib import Path

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.library import Library
from skill_fleet.domain.skill import SKILL_FILE, Skill
from skill_fleet.domain.spec import is_valid
from skill_fleet.foundation.errors import DataError, StorageError, UsageError
from skill_fleet.foundation.files import write_bytes
from skill_fleet.services.context import Context


@dataclass(frozen=True)
class Draft:
    """A skill that the program wrote.

    Attributes:
        skill: The whole.
        name: As the program named it.
        taxonomy_path: Where the program would put it.
        findings: What the specification says of it.
        quality: The guard's, in [0, 1].
    """

    skill: Skill
    name: str
    taxonomy_path: str
    findings: tuple[Finding, ...]
    quality: float


def check_output(context: Context, output: str | None) -> None:
    """Whether the place can be written, as far as that is known before the skill has a name.

    Args:
        context: Settings and workspace.
        output: A folder; None is the library.

    Raises:
        StorageError: It cannot.
    """
    place = _folder(context, output) if output else context.workspace.skills
    nearest = next(parent for parent in (place, *place.parents) if parent.exists())
    if not nearest.is_dir():
        raise StorageError(f"{place} cannot be written: {nearest} is not a directory.")


def _folder(context: Context, output: str) -> Path:
    return context.path(output).absolute()


def write_draft(
    context: Context, best: Draft, *, output: str | None, force: bool, announced: bool = False
) -> Path:
    """Write a draft into its place.

    Args:
        context: Settings and workspace.
        best: What to write.
        output: A folder to write `<name>/SKILL.md` into; None is the skill's place in the library.
        force: Replace a skill that is there.
        announced: Whether a skill with these very words, found in its place, is its own.

    Raises:
        DataError: It is no valid skill, has no place in the library, or there is one already.
        StorageError: It cannot be written.
    """
    if not is_valid(best.findings):
        first = next(found for found in best.findings if found.severity == "error")
        place = context.workspace.state / "drafts" / best.name / SKILL_FILE
        write_bytes(place, best.skill.render())
        raise DataError(
            f"The model wrote no valid skill: {first.message}",
            hint=f"The draft is in {context.workspace.relative(place)}.",
            code="invalid_draft",
        )
    if output is None:
        return _into_library(context, best, force=force, announced=announced)
    target = _folder(context, output) / best.name / SKILL_FILE
    if target.exists() and not force:
        raise DataError(
            f"There is already a skill at {target}.",
            hint="Use --force to replace it; the model's answers are kept, so that costs nothing.",
            code="exists",
        )
    write_bytes(target, best.skill.render())
    return target


def _into_library(context: Context, best: Draft, *, force: bool, announced: bool) -> Path:
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
    if not force:
        raise DataError(
            f"There is already a skill of that name at {context.workspace.relative(twin)}.",
            hint="Use --force to replace it, or --output DIR to write it elsewhere.",
            code="exists",
        )
    write_bytes(twin, best.skill.render())
    return twin
