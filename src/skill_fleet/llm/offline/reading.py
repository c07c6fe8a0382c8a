"""What a text asks for: its sentences read into rules.

Nothing is assumed: a rule exists because a sentence states it. A sentence in which no rule can be read is
idle; it still costs attention (`capacity`).
"""

import functools
import re

from skill_fleet.llm.offline import conditions, naming, text, titles
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.rule import Found, Kind, Rule

_FLAGS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("frontmatter", re.compile(r"front ?matter|yaml header", re.IGNORECASE)),
    (
        "when_to_use",
        re.compile(
            r"when to (?:use|load|apply)|\buse when\b|trigger(?:ing)? (?:words|situations?)", re.IGNORECASE
        ),
    ),
    ("numbered", re.compile(r"\bnumbered\b|step[- ]by[- ]step", re.IGNORECASE)),
    ("fenced", re.compile(r"\bfenced\b|code (?:blocks?|examples?|snippets?|fences?)", re.IGNORECASE)),
    (
        "language",
        re.compile(
            r"language (?:tag|identifier)|tag(?:ged)? (?:with|every|each)[^.]*(?:language|fence)",
            re.IGNORECASE,
        ),
    ),
    (
        "checklist",
        re.compile(r"check ?box|tick ?box|\ba checklist\b|as a check ?list|items? to tick", re.IGNORECASE),
    ),
    (
        "terms",
        re.compile(
            r"key ?terms?|terminology|\bterms? (?:of|from|named in) the (?:task|request)", re.IGNORECASE
        ),
    ),
    ("concise", re.compile(r"\bconcise|\bbrief\b|\bshort\b(?! of)|\bterse", re.IGNORECASE)),
    (
        "detailed",
        re.compile(r"\bdetailed|\bthorough|\bcomprehensive|\bmore detail|\bsubstantial", re.IGNORECASE),
    ),
)

_MAX_WORDS = re.compile(
    r"(?:under|at most|no more than|below|up to|within|fewer than) (\d{2,4}) words", re.IGNORECASE
)
_NEGATED = re.compile(
    r"\b(?:do not|don't|never|avoid|drop|omit|remove|leave out|skip|without|no)\b", re.IGNORECASE
)
_INSTEAD = re.compile(r"\b(?:instead of|rather than|not as)\b(.*)$", re.IGNORECASE)

_LITERAL = r"(?:'([^'\n]{2,120})'|\"([^\"\n]{2,120})\"|`([^`\n]{2,120})`|“([^”\n]{2,120})”)"
_MENTION = re.compile(
    r"\b(?:mention|include|add|cite|use|contain|write|say|state|insert|put|quote|repeat"
    r"|name)s?\b[^.'\"`]{0,60}?"
    rf"(?:\b(?:word|phrase|term|line|text|marker|sentence|keyword|token|string|note"
    rf"|expression)s?\s+)?{_LITERAL}",
    re.IGNORECASE,
)
_CLOSE = re.compile(rf"\b(?:end|finish|close|conclude)\b[^.'\"`]{{0,80}}?{_LITERAL}", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:answer|return|output|respond(?: with)?|reply(?: with)?|label(?: it)?|classify(?: it)?"
    r"|predict|choose|assign|"
    r"select|use|say|write|set|give|pick|mark(?: it)?)\b\s*(?:\w+\s+(?:to|as|is)\s+)?(?:as\s+|with\s+"
    r"|it\s+as\s+)?"
    r"(?:the\s+)?(?:label|answer|class|category|value|option|tag|output|intent|priority)?\s*(?:is\s+"
    r"|of\s+)?:?\s*(.+?)\s*[.!]*$",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"^(?:(?:please|always|also|then|never)\s+)?(?:add|include|use|start|begin|make|put|give|mention"
    r"|keep|write|avoid|"
    r"name|cover|end|finish|close|plan|list|place|file|return|answer|follow|state|cite|say|set|order"
    r"|prefer|choose|"
    r"describe|explain|show|check|do not|don't|never|drop|omit|remove|replace|call|limit|label"
    r"|classify|respond|provide|"
    r"ensure|missing|expected|quote|insert|repeat|select|assign|pick|mark|move|split|test|require"
    r"|shorten|have)\b",
    re.IGNORECASE,
)
_READ = 800
"""Characters of a sentence that are read: longer ones are no sentences."""
_CONTENT = re.compile(
    r"^(?:nothing|no (?:problem|change|issue)|all (?:good|fine|checks)|none\b|well done|correct\b)",
    re.IGNORECASE,
)
_DEONTIC = re.compile(
    r"\b(?:should|must|needs? to|has to|have to|ought to|is expected|are expected|expected)\b", re.IGNORECASE
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
    sentence = sentence[:_READ]
    placed = naming.read_place(sentence)
    if placed:
        path, where = placed
        return (Rule("path", (path,), where, sentence=sentence, action=sentence),)
    condition, action = conditions.split_condition(sentence)
    found: list[Found] = [
        *_read_sections(action, conditional=condition is not None),
        *naming.read_path(action),
        *naming.read_name(action),
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
    best: dict[tuple[Kind, bool], float] = {}
    for rule, match in matches:
        best[_choice(rule)] = max(best.get(_choice(rule), 0.0), match)
    return [
        rule for rule, match in matches if match and (rule.condition is None or match >= best[_choice(rule)])
    ]


def _choice(rule: Rule) -> tuple[Kind, bool]:
    """Rules that exclude each other: whole lists of sections do, a single section comes on top of them."""
    return rule.kind, len(rule.args) > 2


@functools.lru_cache(maxsize=8192)
def is_directive(sentence: str) -> bool:
    """Whether the sentence tells somebody to do something, or what should have been."""
    sentence = sentence[:_READ]
    if _CONTENT.match(sentence):
        return False
    _, action = conditions.split_condition(sentence)
    return bool(_IMPERATIVE.match(action.lstrip()) or _DEONTIC.search(sentence))


def _read_sections(action: str, *, conditional: bool) -> list[Found]:
    instead = _INSTEAD.search(action)
    unwanted = titles.titles_in(f"sections {instead.group(1).strip()}") if instead else ()
    wanted_text = action[: instead.start()] if instead else action
    named = titles.titles_in(wanted_text) or (titles.bare_list(wanted_text) if conditional else ())
    out: list[Found] = []
    if named and _NEGATED.match(wanted_text.lstrip()):
        return [("without_sections", named)]
    if named:
        out.append(("sections", named))
    if unwanted and named:
        out.append(("without_sections", unwanted))
    return out


def _read_literals(action: str, found: list[Found]) -> list[Found]:
    if any(kind in {"sections", "without_sections", "path"} for kind, _ in found) or _NEGATED.match(
        action.lstrip()
    ):
        return []
    out: list[Found] = []
    close = _CLOSE.search(action)
    mention = None if close else _MENTION.search(action)
    if close:
        out.append(("close", (next(group for group in close.groups() if group),)))
    elif mention:
        literal = next(group for group in mention.groups() if group)
        about_name = re.search(r"\bin (?:the|every|its) (?:skill )?name\b", action, re.IGNORECASE)
        out.append(("name_has" if about_name else "mention", (literal,)))
    return out
