"""The library as clients see it: listed, read, scored and checked, by paths that never leave it."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.library import Library
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, check_frontmatter, is_valid
from skill_fleet.evaluation.guard import ESSENTIAL, MEAN_SHARE, WEIGHTS, guard
from skill_fleet.foundation.errors import NotFound, SkillFleetError, StorageError, UsageError
from skill_fleet.services.context import Context
from skill_fleet.services.findings import finding_json
from skill_fleet.services.library_paths import is_library_path, library_path, path_of, skill_at, skills_at

_ABOUT = {
    "trigger": "Does the description say what the skill does and when to use it, in words of its own?",
    "grounding": "Does the body speak of what the description promises, and of the task where one is given?",
    "substance": "Are there steps, commands, decisions: something to act on?",
    "coherence": "Are there whole sentences under every heading?",
    "integrity": "Are frontmatter, fences, links and placeholders in order?",
    "cost": "Is it short enough to be loaded?",
}


def list_skills(context: Context, *, prefix: str = "", after: str = "", limit: int = 20) -> dict[str, Any]:
    """A page of the library, in the order of the paths.

    Args:
        context: Where the library is.
        prefix: Only skills at or below this path; empty is all.
        after: The last path of the page before.
        limit: Most skills of this page.

    Returns:
        `skills` (`path`, `name`, `description`, `taxonomy_path`), `total` below the prefix, `left_out`: how
        many skills of the library have folders that no path can name, and `next`: what `after` the next page
        takes, or null.

    Raises:
        UsageError: The prefix is not a path of the library.
    """
    if prefix:
        library_path(prefix)
    library = Library(context.workspace.skills)
    files = {path_of(library, file): file for file in library.files()}
    named = sorted(path for path in files if is_library_path(path))
    chosen = [path for path in named if not prefix or path == prefix or path.startswith(f"{prefix}/")]
    page = [path for path in chosen if path > after][:limit]
    more = bool(page) and page[-1] != chosen[-1]
    return {
        "skills": [_line(context, library, files[path]) for path in page],
        "total": len(chosen),
        "left_out": len(files) - len(named),
        "next": page[-1] if more else None,
    }


def read_skill(context: Context, path: str) -> dict[str, Any]:
    """One skill: its text, what was read from it, and what is to be said of it.

    Raises:
        UsageError: It is not a path of the library.
        NotFound: No skill is there.
        DataError: The path addresses several skills.
    """
    library = Library(context.workspace.skills)
    file = skill_at(library, path)
    skill = _read(library, file)
    findings = check(skill, folder=file.parent)
    return {
        **_line(context, library, file),
        "fields": dict(skill.fields),
        "body": skill.body,
        "content": skill.source.decode("utf-8", "replace"),
        "sha256": hashlib.sha256(skill.source).hexdigest(),
        "valid": is_valid(findings),
        "findings": [finding_json(found) for found in findings],
    }


def evaluate_paths(context: Context, paths: Sequence[str], task: str = "") -> dict[str, Any]:
    """The guard's score of skills of the library, as `evaluate_content` gives it, and their mean.

    Raises:
        UsageError: One is not a path of the library.
        NotFound: There is no skill at or below one.
    """
    library = Library(context.workspace.skills)
    return _scored(context, [_score(library, file, task) for file in skills_at(library, paths)])


def count_skills(context: Context, path: str) -> int:
    """How many skills there are at a path and below it.

    Raises:
        UsageError: It is not a path of the library.
        NotFound: There is none.
    """
    return len(skills_at(Library(context.workspace.skills), [path]))


def evaluate_batch(context: Context, paths: Sequence[str], task: str = "") -> dict[str, Any]:
    """As `evaluate_paths` for many; a path that cannot be scored is named and stops no other.

    Returns:
        As `evaluate_paths`, and `errors`: `path`, `code` and `message` of each path that has no score.
    """
    library = Library(context.workspace.skills)
    scored: dict[Path, dict[str, Any]] = {}
    errors = []
    for path in dict.fromkeys(paths):
        try:
            for file in skills_at(library, [path]):
                if file not in scored:
                    scored[file] = _score(library, file, task)
        except SkillFleetError as error:
            errors.append({"path": path[:200], "code": error.code, "message": error.message})
    return {**_scored(context, list(scored.values())), "errors": errors}


def evaluate_content(
    context: Context, content: str, *, name: str | None = None, task: str = ""
) -> dict[str, Any]:
    """The guard's score of a text that is in no library.

    Args:
        context: The thresholds in force.
        content: The whole SKILL.md.
        name: Of the folder that it is for; None does not compare it.
        task: What the skill was asked for; where given, that the body speaks of it counts.

    Returns:
        `skills`, of one: `path` (null), `name`, `valid`, `findings`, `quality`, `parts`, `feedback`;
        `mean` and `thresholds`.
    """
    skill = Skill.parse(content)
    return _scored(context, [_judged(skill, _findings(skill, "spec", name), None, task)])


def validate_paths(context: Context, paths: Sequence[str], profile: str) -> dict[str, Any]:
    """The findings of skills of the library, and whether all of them are valid.

    Raises:
        UnknownName: There is no such profile.
        UsageError: One is not a path of the library.
        NotFound: There is no skill at or below one.
    """
    library = Library(context.workspace.skills)
    checked = []
    for file in skills_at(library, paths):
        skill = _read(library, file)
        checked.append(_checked(skill, check(skill, profile, folder=file.parent), path_of(library, file)))
    return {"valid": all(one["valid"] for one in checked), "profile": profile, "skills": checked}


def validate_content(content: str, profile: str, *, name: str | None = None) -> dict[str, Any]:
    """As `validate_paths`, of a text that is in no library.

    Raises:
        UnknownName: There is no such profile.
    """
    skill = Skill.parse(content)
    checked = _checked(skill, _findings(skill, profile, name), None)
    return {"valid": checked["valid"], "profile": profile, "skills": [checked]}


def metrics_info(context: Context) -> dict[str, Any]:
    """What quality is made of, with the weights, thresholds and targets in force."""
    evaluation = context.settings.evaluation
    return {
        "components": [
            {"name": name, "weight": weight, "essential": name in ESSENTIAL, "description": _ABOUT[name]}
            for name, weight in WEIGHTS.items()
        ],
        "formula": {"weighted_mean": MEAN_SHARE, "weakest_essential": round(1.0 - MEAN_SHARE, 9)},
        "scale": [0.0, 1.0],
        "weights": evaluation.weights.model_dump(),
        "thresholds": evaluation.thresholds.model_dump(),
        "targets": evaluation.targets.model_dump(),
    }


def _line(context: Context, library: Library, file: Path) -> dict[str, Any]:
    skill = _read(library, file)
    try:
        taxonomy_path = library.taxonomy_path_of(file)
    except UsageError:
        taxonomy_path = None
    return {
        "path": path_of(library, file),
        "name": skill.name,
        "description": skill.description,
        "taxonomy_path": taxonomy_path,
        "file": context.workspace.relative(file),
    }


def _read(library: Library, file: Path) -> Skill:
    """A skill; what cannot be read is named by its path in the library, not by its place on the machine."""
    try:
        return Skill.read(file)
    except NotFound:
        raise NotFound(f"The skill at '{path_of(library, file)}' is gone.") from None
    except StorageError:
        raise StorageError(f"The skill at '{path_of(library, file)}' cannot be read.") from None


def _findings(skill: Skill, profile: str, name: str | None) -> list[Finding]:
    """What there is to say of a text for a folder of that name; no file of this machine is looked at."""
    found = (*check_frontmatter(skill, profile, folder_name=name), *check(skill, profile))
    return sorted(dict.fromkeys(found), key=lambda one: one.line)


def _score(library: Library, file: Path, task: str) -> dict[str, Any]:
    skill = _read(library, file)
    return _judged(skill, check(skill, folder=file.parent), path_of(library, file), task)


def _judged(skill: Skill, findings: Sequence[Finding], path: str | None, task: str) -> dict[str, Any]:
    score = guard(skill, task)
    quality = {"quality": score.value, "parts": dict(score.parts), "feedback": score.feedback}
    return {**_checked(skill, findings, path), **quality}


def _checked(skill: Skill, findings: Sequence[Finding], path: str | None) -> dict[str, Any]:
    return {
        "path": path,
        "name": skill.name,
        "valid": is_valid(findings),
        "findings": [finding_json(found) for found in findings],
    }


def _scored(context: Context, skills: Iterable[dict[str, Any]]) -> dict[str, Any]:
    scored = list(skills)
    return {
        "skills": scored,
        "mean": math.fsum(one["quality"] for one in scored) / len(scored) if scored else None,
        "thresholds": context.settings.evaluation.thresholds.model_dump(),
    }
