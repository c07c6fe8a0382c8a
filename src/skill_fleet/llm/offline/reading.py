"""What a text asks for: its sentences read into rules.

Nothing is assumed: a rule exists because a sentence states it. A sentence in which no rule can be read is idle; it
still costs attention (`capacity`).
"""

import functools
import re
from dataclasses import dataclass
from typing import Literal

from skill_fleet.llm.offline import conditions, text, titles
from skill_fleet.llm.offline.conditions import Condition, Scene

Kind = Literal[
    "sections",
    "without_sections",
    "mention",
    "close",
    "path",
    "path_depth",
    "name_words",
    "name_first",
    "name_has",
    "when_to_use",
    "numbered",
    "fenced",
    "language",
    "checklist",
    "terms",
    "frontmatter",
    "concise",
    "detailed",
    "max_words",
    "answer",
]

_FLAGS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("frontmatter", re.compile(r"front ?matter|yaml header", re.IGNORECASE)),
    (
        "when_to_use",
        re.compile(r"when to (?:use|load|apply)|\buse when\b|trigger(?:ing)? (?:words|situations?)", re.IGNORECASE),
    ),
    ("numbered", re.compile(r"\bnumbered\b|step[- ]by[- ]step", re.IGNORECASE)),
    ("fenced", re.compile(r"\bfenced\b|code (?:blocks?|examples?|snippets?|fences?)", re.IGNORECASE)),
    (
        "language",
        re.compile(
            r"language (?:tag|identifier)|tag(?:ged)? (?:with|every|each)[^.]*(?:language|fence)", re.IGNORECASE
        ),
    ),
    ("checklist", re.compile(r"check ?box|tick ?box|\ba checklist\b|as a check ?list|items? to tick", re.IGNORECASE)),
    (
        "terms",
        re.compile(r"key ?terms?|terminology|\bterms? (?:of|from|named in) the (?:task|request)", re.IGNORECASE),
    ),
    ("concise", re.compile(r"\bconcise|\bbrief\b|\bshort\b(?! of)|\bterse", re.IGNORECASE)),
    ("detailed", re.compile(r"\bdetailed|\bthorough|\bcomprehensive|\bmore detail|\bsubstantial", re.IGNORECASE)),
)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_NUMBER = r"(\d+|one|two|three|four|five|six|seven|eight)"
_MAX_WORDS = re.compile(r"(?:under|at most|no more than|below|up to|within|fewer than) (\d{2,4}) words", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:do not|don't|never|avoid|drop|omit|remove|leave out|skip|without|no)\b", re.IGNORECASE)
_INSTEAD = re.compile(r"\b(?:instead of|rather than|not as)\b(.*)$", re.IGNORECASE)
_ABOUT_NAME = re.compile(r"\bnam(?:e|es|ed|ing)\b|\bslugs?\b", re.IGNORECASE)
_NAME_WORDS = re.compile(
    rf"(?:(at most|no more than|up to|maximum|max|under)\s+(?:of\s+)?)?{_NUMBER}(?:\s*(?:to|-|–|or)\s*{_NUMBER})?"
    r"\s+(?:[\w-]+\s+){0,2}?(?:words?|parts?)",
    re.IGNORECASE,
)
_ROLE = r"(technology|tool|language|framework|platform|subject|object|topic|noun|thing|action|verb|gerund)"
_NAME_FIRST = re.compile(
    rf"(?:start\w*|begin\w*|lead|open\w*)\s+(?:the\s+|every\s+|each\s+|skill\s+)*(?:name\w*\s+)?(?:with|by)\s+(?:the\s+|an?\s+)?(?:main\s+)?{_ROLE}"
    rf"|{_ROLE}\s+(?:name\s+)?(?:comes\s+|goes\s+|is\s+)?first|(?:put|place)\s+(?:the\s+)?{_ROLE}\s+(?:name\s+)?first"
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
    rf"^(?:put|place|file|keep|store|move|locate)\s+(?P<what>.+?)\s+(?:under|in|into|below|at|inside)\s+(?:the\s+)?(?:{_PATH}|{_FOLDER})",
    re.IGNORECASE,
)
_BELONG = re.compile(
    rf"^(?P<what>.+?)\s+(?:belongs?|goe?s?|lives?|sits?|should (?:be|go|live|sit)|must (?:be|go|live|sit))(?:\s+\w+)?\s+"
    rf"(?:under|in|into|below|at|inside)\s+(?:the\s+)?(?:{_PATH}|{_FOLDER})",
    re.IGNORECASE,
)
_PATH_IS = re.compile(
    rf"\b(?:path|branch|folder)s?\b[^.]{{0,60}}?(?:{_PATH}|{_FOLDER})|(?:use|choose|take|return|under|expected)\s+(?:the\s+)?{_PATH}",
    re.IGNORECASE,
)
_DEPTH = re.compile(
    rf"{_NUMBER}(?:\s*(?:to|-|–|or)\s*{_NUMBER})?\s+(?:levels?|parts?|folders?|segments?)", re.IGNORECASE
)
_DEPTH_OF = re.compile(
    rf"depth\s+(?:of\s+|is\s+|should be\s+)?{_NUMBER}(?:\s*(?:to|-|–|or)\s*{_NUMBER})?", re.IGNORECASE
)
_LITERAL = r"(?:'([^'\n]{2,120})'|\"([^\"\n]{2,120})\"|`([^`\n]{2,120})`|“([^”\n]{2,120})”)"
_MENTION = re.compile(
    r"\b(?:mention|include|add|cite|use|contain|write|say|state|insert|put|quote|repeat|name)s?\b[^.'\"`]{0,60}?"
    rf"(?:\b(?:word|phrase|term|line|text|marker|sentence|keyword|token|string|note|expression)s?\s+)?{_LITERAL}",
    re.IGNORECASE,
)
_CLOSE = re.compile(rf"\b(?:end|finish|close|conclude)\b[^.'\"`]{{0,80}}?{_LITERAL}", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:answer|return|output|respond(?: with)?|reply(?: with)?|label(?: it)?|classify(?: it)?|predict|choose|assign|"
    r"select|use|say|write|set|give|pick|mark(?: it)?)\b\s*(?:\w+\s+(?:to|as|is)\s+)?(?:as\s+|with\s+|it\s+as\s+)?"
    r"(?:the\s+)?(?:label|answer|class|category|value|option|tag|output|intent|priority)?\s*(?:is\s+|of\s+)?:?\s*(.+?)\s*[.!]*$",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"^(?:(?:please|always|also|then|never)\s+)?(?:add|include|use|start|begin|make|put|give|mention|keep|write|avoid|"
    r"name|cover|end|finish|close|plan|list|place|file|return|answer|follow|state|cite|say|set|order|prefer|choose|"
    r"describe|explain|show|check|do not|don't|never|drop|omit|remove|replace|call|limit|label|classify|respond|provide|"
    r"ensure|missing|expected|quote|insert|repeat|select|assign|pick|mark|move|split|test|require|shorten|have)\b",
    re.IGNORECASE,
)
_DEONTIC = re.compile(
    r"\b(?:should|must|needs? to|has to|have to|ought to|is expected|are expected|expected)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing a text asks for.

    Attributes:
        kind: What it is about.
        args: Titles, words or numbers, as text.
        condition: Where it applies; None everywhere.
        exact: Whether the text wants this and nothing else (`exactly`, `only`).
        sentence: The sentence it was read in, stripped.
        action: The sentence without its condition.
    """

    kind: Kind
    args: tuple[str, ...] = ()
    condition: Condition | None = None
    exact: bool = False
    sentence: str = ""
    action: str = ""

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for rules that ask for the same in the same case."""
        return (
            self.kind,
            tuple(arg.lower() for arg in self.args),
            self.condition and self.condition.said.lower(),
        )


@functools.lru_cache(maxsize=2048)
def read_rules(said: str) -> tuple[Rule, ...]:
    """Every rule in a text, in order, without repeats."""
    out: dict[tuple[object, ...], Rule] = {}
    for sentence in text.sentences(said):
        for rule in rules_of(sentence):
            out.setdefault(rule.meaning, rule)
    return tuple(out.values())


@functools.lru_cache(maxsize=16384)
def rules_of(sentence: str) -> tuple[Rule, ...]:
    """The rules of one sentence."""
    placed = _read_place(sentence)
    if placed:
        return placed
    condition, action = conditions.split_condition(sentence)
    found: list[tuple[Kind, tuple[str, ...]]] = [
        *_read_sections(action, conditional=condition is not None),
        *_read_path(action),
        *_read_name(action),
        *((kind, ()) for kind, pattern in _FLAGS if pattern.search(action)),
    ]
    limit = _MAX_WORDS.search(action)
    if limit:
        found.append(("max_words", (limit.group(1),)))
    found += _read_literals(action, found)
    if condition is not None:
        answer = _ANSWER.search(action)
        if answer and len(answer.group(1).split()) <= 8:
            found.append(("answer", (answer.group(1).strip("'\"`“” "),)))
    exact = bool(re.search(r"\bexactly\b|\bonly\b|nothing else|no other", action, re.IGNORECASE))
    return tuple(Rule(kind, args, condition, exact, sentence, action) for kind, args in found)


def applying(rules: tuple[Rule, ...], scene: Scene) -> list[Rule]:
    """The rules that hold in a scene: of conditional rules of one kind only those that match it best."""
    matches = [(rule, rule.condition.match(scene) if rule.condition else 0.5) for rule in rules]
    best: dict[Kind, float] = {}
    for rule, match in matches:
        best[rule.kind] = max(best.get(rule.kind, 0.0), match)
    return [rule for rule, match in matches if match and (rule.condition is None or match >= best[rule.kind])]


@functools.lru_cache(maxsize=8192)
def is_directive(sentence: str) -> bool:
    """Whether the sentence tells somebody to do something, or what should have been."""
    _, action = conditions.split_condition(sentence)
    return bool(_IMPERATIVE.match(action.lstrip()) or _DEONTIC.search(sentence))


def _read_sections(action: str, *, conditional: bool) -> list[tuple[Kind, tuple[str, ...]]]:
    instead = _INSTEAD.search(action)
    unwanted = titles.titles_in(f"sections {instead.group(1).strip()}") if instead else ()
    wanted_text = action[: instead.start()] if instead else action
    named = titles.titles_in(wanted_text) or (titles.bare_list(wanted_text) if conditional else ())
    out: list[tuple[Kind, tuple[str, ...]]] = []
    if named and _NEGATED.match(wanted_text.lstrip()):
        return [("without_sections", named)]
    if named:
        out.append(("sections", named))
    if unwanted and named:
        out.append(("without_sections", unwanted))
    return out


def _read_place(sentence: str) -> tuple[Rule, ...]:
    """`Put X under a/b`, `X belongs under a/b`: the condition is the thing that is put."""
    body = sentence.lstrip("-*+•# \t")
    for pattern in (_PUT, _BELONG):
        found = pattern.match(body)
        if found:
            path = next((group for group in found.groups()[1:] if group), "")
            what = found.group("what")
            condition = conditions.split_condition(f"For {what} tasks, x")[0]
            lead, _ = conditions.split_condition(sentence)
            rule = Rule("path", (path,), lead or condition, sentence=sentence, action=body)
            return (rule,) if path else ()
    return ()


def _read_path(action: str) -> list[tuple[Kind, tuple[str, ...]]]:
    out: list[tuple[Kind, tuple[str, ...]]] = []
    named = _PATH_IS.search(action)
    if named:
        out.append(("path", (next(group for group in named.groups() if group),)))
    if re.search(r"\bpaths?\b|taxonomy|\bdepth\b|\bdeep\b|levels?\b", action, re.IGNORECASE):
        depth = _DEPTH.search(action) or _DEPTH_OF.search(action)
        if depth:
            low = _number(depth.group(1))
            out.append(("path_depth", (str(low), str(_number(depth.group(2)) if depth.group(2) else low))))
    return out


def _read_name(action: str) -> list[tuple[Kind, tuple[str, ...]]]:
    about = _ABOUT_NAME.search(action)
    first = _NAME_FIRST.search(action)
    if not about and not (first and "first" in action.lower()):
        return []
    out: list[tuple[Kind, tuple[str, ...]]] = []
    size = _NAME_WORDS.search(action)
    if size:
        low = _number(size.group(2))
        high = _number(size.group(3)) if size.group(3) else low
        out.append(("name_words", ("1" if size.group(1) else str(low), str(high))))
    if first:
        role = next(group for group in first.groups() if group).lower()
        out.append(("name_first", (_ROLES.get(role, "object"),)))
    return out


def _read_literals(
    action: str, found: list[tuple[Kind, tuple[str, ...]]]
) -> list[tuple[Kind, tuple[str, ...]]]:
    if any(kind in {"sections", "without_sections", "path"} for kind, _ in found) or _NEGATED.match(
        action.lstrip()
    ):
        return []
    out: list[tuple[Kind, tuple[str, ...]]] = []
    close = _CLOSE.search(action)
    mention = None if close else _MENTION.search(action)
    if close:
        out.append(("close", (next(group for group in close.groups() if group),)))
    elif mention:
        literal = next(group for group in mention.groups() if group)
        about_name = re.search(r"\bin (?:the|every|its) (?:skill )?name\b", action, re.IGNORECASE)
        out.append(("name_has" if about_name else "mention", (literal,)))
    return out


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.lower()]
