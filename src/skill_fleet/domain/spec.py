"""The rules of the Agent Skills specification, and of the profiles on top of it, applied to a skill.

`check` is everything, `check_frontmatter` the frontmatter alone. Findings come in the order of the file; a
skill is valid when none of them is an error.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from skill_fleet.domain.body_rules import body_findings
from skill_fleet.domain.finding import Finding, Severity
from skill_fleet.domain.frontmatter_rules import frontmatter_findings
from skill_fleet.domain.profiles import PROFILES, Profile, profile_named
from skill_fleet.domain.skill import Skill

__all__ = ["PROFILES", "Finding", "Severity", "check", "check_frontmatter", "is_valid"]


def check(skill: Skill, profile: str = "spec", *, folder: Path | None = None) -> tuple[Finding, ...]:
    """Everything there is to say of a skill.

    Args:
        skill: The skill.
        profile: `spec`, `strict` or `claude`.
        folder: The skill's folder: its name is compared, links are followed. None looks at the content alone.

    Raises:
        UnknownName: There is no such profile.
    """
    rules = profile_named(profile)
    fields = frontmatter_findings(skill, rules, _name_of(folder))
    return _in_order((*skill.problems, *fields, *body_findings(skill, folder)), rules)


def check_frontmatter(
    skill: Skill, profile: str = "spec", *, folder_name: str | None = None
) -> tuple[Finding, ...]:
    """What there is to say of the bytes and the frontmatter.

    Args:
        skill: The skill.
        profile: `spec`, `strict` or `claude`.
        folder_name: The name of the skill's folder, or None not to compare it.

    Raises:
        UnknownName: There is no such profile.
    """
    rules = profile_named(profile)
    return _in_order((*skill.problems, *frontmatter_findings(skill, rules, folder_name)), rules)


def is_valid(findings: Iterable[Finding]) -> bool:
    """Whether none of the findings is an error."""
    return all(found.severity != "error" for found in findings)


def _name_of(folder: Path | None) -> str | None:
    if folder is None:
        return None
    return folder.name if folder.name not in {"", ".."} else folder.resolve().name


def _in_order(findings: Iterable[Finding], rules: Profile) -> tuple[Finding, ...]:
    ordered = sorted(findings, key=lambda found: found.line)
    if not rules.warnings_are_errors:
        return tuple(ordered)
    return tuple(
        replace(found, severity="error") if found.severity == "warning" else found for found in ordered
    )
