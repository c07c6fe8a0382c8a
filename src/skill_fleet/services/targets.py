"""What a user points at: files, folders, or paths of the library."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from skill_fleet.domain.library import Library, find_skill_files
from skill_fleet.foundation.errors import NotFound, UsageError
from skill_fleet.services.context import Context


def skill_files(context: Context, targets: Sequence[str]) -> list[Path]:
    """The SKILL.md files that are meant, each once, in the order named.

    Args:
        context: Where the library is.
        targets: Files, folders (a skill's own, or one with skills below it), or taxonomy paths of the
            library; none is the whole library.

    Raises:
        NotFound: A target is not there, or holds no skill.
    """
    library = context.workspace.skills
    if not targets and not library.is_dir():
        raise NotFound(
            f"There is no library yet: {library} is not there.",
            hint="Name files or folders, or write a skill: skill-fleet create-skill --task TEXT.",
        )
    wanted = targets or [str(library)]
    found = [file for target in wanted for file in _files(context, target)]
    return list(dict.fromkeys(found))


def _files(context: Context, target: str) -> Iterator[Path]:
    if not target:
        raise NotFound("A target is empty: name a file, a folder, or a path of the library.")
    try:
        path = context.path(target)
        if path.is_file():
            yield path
            return
        is_folder = path.is_dir()
    except (OSError, ValueError) as error:
        raise NotFound(f"There is no skill at {target[:200]!r}: {error}.") from None
    if is_folder:
        files = list(find_skill_files(path))
        if not files:
            raise NotFound(f"There is no SKILL.md in {path} or below it.")
        yield from files
        return
    try:
        yield from Library(context.workspace.skills).below(target)
    except (NotFound, UsageError):
        raise NotFound(
            f"There is no skill at '{target[:200]}': neither a file, a folder, nor a path of the library."
        ) from None
