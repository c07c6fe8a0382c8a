"""Which rules concern which module: a rule about sections is of no use to a module that only names things."""

import re
from collections.abc import Iterable

from skill_fleet.llm.offline.rule import Kind, Rule

_PLANS = re.compile(r"section|outline|plan|heading", re.IGNORECASE)
_TEXTS = re.compile(
    r"content|document|skill_md|draft|markdown|text|body|article|email|answer|response|output", re.IGNORECASE
)
_NAMES = re.compile(r"name|title|slug", re.IGNORECASE)
_PATHS = re.compile(r"path|folder|categor|taxonomy", re.IGNORECASE)
_TERMS = re.compile(r"terms|keyword", re.IGNORECASE)
_DESCRIPTIONS = re.compile(r"descri|summary", re.IGNORECASE)

_WHERE: dict[Kind, tuple[re.Pattern[str], ...]] = {
    "sections": (_PLANS,),
    "without_sections": (_PLANS,),
    "path": (_PATHS,),
    "path_depth": (_PATHS,),
    "path_leaf": (_PATHS,),
    "name_words": (_NAMES,),
    "name_first": (_NAMES,),
    "name_has": (_NAMES,),
    "name_task": (_NAMES,),
    "when_to_use": (_DESCRIPTIONS,),
}
_WRITING: frozenset[Kind] = frozenset(
    {
        "mention",
        "close",
        "numbered",
        "fenced",
        "language",
        "checklist",
        "terms",
        "frontmatter",
        "detailed",
        "max_words",
    }
)


def concerns(rule: Rule, outputs: Iterable[str]) -> bool:
    """Whether a module with these output fields can follow the rule; True for unknown fields."""
    names = [name for name in outputs if name != "reasoning"]
    if not names:
        return True
    patterns = _WHERE.get(rule.kind)
    if patterns is not None:
        fitting = any(pattern.search(name) for pattern in patterns for name in names)
        return fitting or (rule.kind in {"sections", "without_sections"} and _only_text(names))
    if rule.kind in _WRITING:
        if rule.kind == "terms" and any(_TERMS.search(name) for name in names):
            return True
        specific = any(pattern.search(name) for pattern in (_PLANS, _NAMES, _PATHS) for name in names)
        return any(_TEXTS.search(name) for name in names) or not specific
    return True


def _only_text(names: list[str]) -> bool:
    return any(_TEXTS.search(name) for name in names) and not any("repair" in name for name in names)
