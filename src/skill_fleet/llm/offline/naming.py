"""Rules about names and places: `start the name with the tool`, `put email tasks under communication`."""

import re

from skill_fleet.llm.offline import conditions
from skill_fleet.llm.offline.conditions import Condition
from skill_fleet.llm.offline.rule import Found

_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_NUMBER = r"(\d+|one|two|three|four|five|six|seven|eight)"
_ABOUT_NAME = re.compile(r"\bnam(?:e|es|ed|ing)\b|\bslugs?\b", re.IGNORECASE)
_NAME_WORDS = re.compile(
    rf"(?:(at most|no more than|up to|maximum|max|under)\s+(?:of\s+)?)?{_NUMBER}(?:\s*(?:to|-|–"
    rf"|or)\s*{_NUMBER})?"
    r"\s+(?:[\w-]+\s+){0,2}?(?:words?|parts?)",
    re.IGNORECASE,
)
_ROLE = r"(technology|tool|language|framework|platform|subject|object|topic|noun|thing|action|verb|gerund)"
_NAME_FIRST = re.compile(
    rf"(?:start\w*|begin\w*|lead|open\w*)\s+(?:the\s+|every\s+|each\s+"
    rf"|skill\s+)*(?:name\w*\s+)?(?:with|by)\s+(?:the\s+|an?\s+)?(?:main\s+)?{_ROLE}"
    rf"|{_ROLE}\s+(?:name\s+)?(?:comes\s+|goes\s+|is\s+)?first|(?:put"
    rf"|place)\s+(?:the\s+)?{_ROLE}\s+(?:name\s+)?first"
    rf"|first\s+(?:word\s+)?(?:is|must be|should be)?\s*(?:the\s+)?{_ROLE}",
    re.IGNORECASE,
)
_ROLES = {
    "technology": "technology", "tool": "technology", "language": "technology", "framework": "technology",
    "platform": "technology", "action": "action", "verb": "action", "gerund": "gerund",
}  # fmt: skip
_PATH = r"`?'?([a-z][\w-]*(?:/[\w-]+)+)/?'?`?"
_FOLDER = r"(?:`([a-z]\w*)`|'([a-z]\w*)'|([a-z]+_[a-z_]+))"
_PUT = re.compile(
    rf"^(?:put|place|file|keep|store|move|locate)\s+(?P<what>.+?)\s+(?:under|in|into|below|at"
    rf"|inside)\s+(?:the\s+)?(?:{_PATH}|{_FOLDER})",
    re.IGNORECASE,
)
_BELONG = re.compile(
    rf"^(?P<what>.+?)\s+(?:belongs?|goe?s?|lives?|sits?|should (?:be|go|live|sit)|must (?:be|go|live"
    rf"|sit))(?:\s+\w+)?\s+"
    rf"(?:under|in|into|below|at|inside)\s+(?:the\s+)?(?:{_PATH}|{_FOLDER})",
    re.IGNORECASE,
)
_PATH_IS = re.compile(
    rf"\b(?:path|branch|folder)s?\b[^.]{{0,60}}?(?:{_PATH}|{_FOLDER})|(?:use|choose|take|return|under"
    rf"|expected)\s+(?:the\s+)?{_PATH}",
    re.IGNORECASE,
)
_DEPTH = re.compile(
    rf"{_NUMBER}(?:\s*(?:to|-|–|or)\s*{_NUMBER})?\s+(?:levels?|parts?|folders?|segments?)", re.IGNORECASE
)
_LEAF = re.compile(
    r"\b(?:last|lowest|final|leaf)\s+(?:folder|part|level|segment)\b.*\b(?:topic|subject|task|object)",
    re.IGNORECASE,
)
_FROM_TASK = re.compile(
    r"\bwords?\b[^.]{0,30}\bname\b[^.]{0,20}\bfrom the (?:task|request)|\bname\b[^.]{0,40}\bwords? of "
    r"the (?:task|request)",
    re.IGNORECASE,
)
_DEPTH_OF = re.compile(
    rf"depth\s+(?:of\s+|is\s+|should be\s+)?{_NUMBER}(?:\s*(?:to|-|–|or)\s*{_NUMBER})?", re.IGNORECASE
)


def read_place(sentence: str) -> tuple[str, Condition | None] | None:
    """`Put X under a/b`, `X belongs under a/b`: the condition is the thing that is put."""
    body = sentence.lstrip("-*+•# \t")
    for pattern in (_PUT, _BELONG):
        found = pattern.match(body)
        if found:
            path = next((group for group in found.groups()[1:] if group), "")
            what = found.group("what")
            condition = conditions.split_condition(f"For {what} tasks, x")[0]
            lead, _ = conditions.split_condition(sentence)
            return (path, lead or condition) if path else None
    return None


def read_path(action: str) -> list[Found]:
    """Rules about the taxonomy path in what a sentence wants done."""
    out: list[Found] = []
    named = _PATH_IS.search(action)
    if named:
        out.append(("path", (next(group for group in named.groups() if group),)))
    if re.search(r"\bpaths?\b|taxonomy|\bdepth\b|\bdeep\b|levels?\b", action, re.IGNORECASE):
        depth = _DEPTH.search(action) or _DEPTH_OF.search(action)
        if depth:
            low = _number(depth.group(1))
            out.append(("path_depth", (str(low), str(_number(depth.group(2)) if depth.group(2) else low))))
    if _LEAF.search(action):
        out.append(("path_leaf", ()))
    return out


def read_name(action: str) -> list[Found]:
    """Rules about the skill's name in what a sentence wants done."""
    about = _ABOUT_NAME.search(action)
    first = _NAME_FIRST.search(action)
    if not about and not (first and "first" in action.lower()):
        return []
    out: list[Found] = [("name_task", ())] if _FROM_TASK.search(action) else []
    size = _NAME_WORDS.search(action)
    if size:
        low = _number(size.group(2))
        high = _number(size.group(3)) if size.group(3) else low
        out.append(("name_words", ("1" if size.group(1) else str(low), str(high))))
    if first:
        role = next(group for group in first.groups() if group).lower()
        out.append(("name_first", (_ROLES.get(role, "object"),)))
    return out


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.replace("İ", "i").casefold()]
