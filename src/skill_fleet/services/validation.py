"""Check skills against the specification; a whole library in one process."""

from collections.abc import Iterator, Sequence
from typing import Any

from skill_fleet.domain.profiles import profile_named
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid
from skill_fleet.services.context import Context
from skill_fleet.services.findings import finding_json
from skill_fleet.services.targets import skill_files


def validate_skills(context: Context, targets: Sequence[str], profile: str) -> Iterator[dict[str, Any]]:
    """The findings of each skill, as soon as it is read.

    Args:
        context: Where the library is.
        targets: As for `skill_files`.
        profile: `spec`, `claude` or `strict`.

    Yields:
        `path`, `name`, `valid` and `findings`.

    Raises:
        UnknownName: There is no such profile.
        NotFound: A target is not there.
        StorageError: A skill cannot be read.
    """
    profile_named(profile)
    for file in skill_files(context, targets):
        skill = Skill.read(file)
        findings = check(skill, profile, folder=file.parent)
        yield {
            "path": context.workspace.relative(file),
            "name": skill.name,
            "valid": is_valid(findings),
            "findings": [finding_json(found) for found in findings],
        }
