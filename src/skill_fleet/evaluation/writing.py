"""Does it say something, does it hang together, is it whole, what does it cost: four parts of a text."""

import re
from collections import Counter
from itertools import pairwise

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check_frontmatter
from skill_fleet.evaluation.reading import Reading, sample, weight
from skill_fleet.evaluation.scale import Part, rising

_CHARACTERS_PER_TOKEN = 4.0
_TOKENS_ADVISED = 5_000
_TOKENS_TOO_MANY = 15_000

_TOKEN = re.compile(r"[^\W_]+|[.,;!?)]")
_SENTENCE_END = re.compile(r"(?<=\w\w)[.!?] +(\w)")
_STOPS = frozenset(".,;!?)")
_ARTICLES = frozenset({"the", "a", "an"})
_PREPOSITIONS = frozenset({"of", "with", "from", "for", "by", "into"})
_CONJUNCTIONS = frozenset({"and", "or"})
_NOT_AFTER_ARTICLE = _STOPS | frozenset(
    """a an and are as at be but by can could did do does for from had has have he i if in is it its not of
    on or she should so than that the then they this to was we were what when which who will with would
    you""".split()
)
_NOT_AFTER_PREPOSITION = _STOPS | {
    "of",
    "and",
    "or",
    "is",
    "are",
    "was",
    "were",
    "be",
    "but",
    "to",
    "than",
    "then",
}
_NOT_AFTER_CONJUNCTION = _STOPS | {"of", "and", "or"}
_PRIOR = 4
_AMPLE = 90

# What a writer left unfinished in a skill that is measured.
_PLACEHOLDER = re.compile(
    r"\b(?:TODO|FIXME|TBD|XXX|[Ll]orem ipsum|[Ii]nsert \w+ here)\b|\[(?:placeholder|your \w+)\]"
)
_CONFLICT = re.compile(r"^(?:<{7} |>{7} )", re.MULTILINE)


def substance(reading: Reading) -> Part:
    """How much is said, and how concretely; what is said twice counts once.

    Amount is the number of different telling stems, which neither length nor repetition raises. Concreteness
    is code, steps, lists, tables and names in code font, any two or three of which are enough.
    """
    fresh, share = _fresh(reading)
    different = len({stem for stem in fresh if weight(stem) == 1.0})
    code = [fence for fence in reading.fences if fence.code.strip()]
    tagged = any(fence.language for fence in code)
    concrete = min(
        1.0,
        0.35 * bool(code)
        + 0.1 * tagged
        + 0.3 * rising(reading.steps, 0, 3)
        + 0.25 * rising(reading.bullets, 0, 4)
        + 0.3 * rising(reading.rows, 0, 4)
        + 0.3 * rising(reading.spans, 0, 4),
    )
    notes = []
    if different < _AMPLE:
        notes.append("Write more detailed sections: name the commands, limits and decisions of this task.")
    if share < 0.8:
        notes.append("Say each thing once: remove repeated sentences.")
    if concrete < 1.0 and not (code and tagged):
        notes.append("Include a fenced code block with a language tag.")
    if concrete < 1.0 and reading.steps < 3:
        notes.append("Give the procedure as numbered steps.")
    return Part((0.65 * rising(different, 15, _AMPLE) + 0.35 * concrete) * share, tuple(notes))


def _fresh(reading: Reading) -> tuple[list[str], float]:
    """The stems of blocks that are not repeats, and how fresh the whole is, in [0, 1]."""
    seen: set[tuple[str, ...]] = set()
    fresh: list[str] = []
    repeated = total = 0
    for block in reading.blocks:
        total += len(block)
        if len(block) >= 3 and block in seen:
            repeated += len(block)
        else:
            seen.add(block)
            fresh += block
    runs = Counter(zip(fresh, fresh[1:], fresh[2:], strict=False))
    count = runs.total()
    again = 1.0 - len(runs) / count if count else 0.0
    return fresh, (1.0 - repeated / total if total else 0.0) * (1.0 - rising(again, 0.1, 0.6))


def coherence(reading: Reading) -> Part:
    """Whether the words stand in an order that sentences have, under headings that hold something.

    Order is judged by what cannot follow: an article before a preposition, a preposition before a full stop,
    a small letter after one. A text without such places (few words, another language) gets the benefit of the
    doubt.
    """
    sections = reading.sections
    empty = [one.title for at, one in enumerate(sections) if not _holds_something(reading, at)]
    distinct = len({one.title.casefold() for one in sections})
    form = 0.5 if not sections else (1.0 - len(empty) / len(sections)) * distinct / len(sections)
    if len(sections) < 2:
        form *= 0.5
    order = rising(_order(reading), 0.78, 0.95)
    notes = []
    if order < 0.8:
        notes.append("Write whole sentences in plain grammatical order.")
    if len(sections) < 2:
        notes.append("Divide the text into level-2 sections.")
    if empty:
        notes.append(f"Write text under every heading; under {sample(empty)} there is none.")
    if distinct < len(sections):
        notes.append("Use every heading once.")
    return Part(order * (0.6 + 0.4 * form), tuple(notes))


def _holds_something(reading: Reading, at: int) -> bool:
    section = reading.sections[at]
    deeper = at + 1 < len(reading.sections) and reading.sections[at + 1].level > section.level
    return deeper or len(section.text.split()) >= 5


def _order(reading: Reading) -> float:
    """The share of telling places in which what follows can follow, with a few granted beforehand."""
    places = broken = 0
    for paragraph in reading.paragraphs:
        tokens = _TOKEN.findall(paragraph.lower())
        for word, following in pairwise([*tokens, "."]):
            if word in _ARTICLES:
                wrong = following in _NOT_AFTER_ARTICLE
            elif word in _PREPOSITIONS:
                wrong = following in _NOT_AFTER_PREPOSITION
            elif word in _CONJUNCTIONS:
                wrong = following in _NOT_AFTER_CONJUNCTION
            else:
                continue
            places += 1
            broken += wrong
        starts = _SENTENCE_END.findall(paragraph)
        places += len(starts)
        broken += sum(start.islower() for start in starts)
    return 1.0 - broken / (places + _PRIOR)


def integrity(reading: Reading, skill: Skill) -> Part:
    """Whether the document is whole: valid by the specification, finished, nothing left open."""
    errors = [finding for finding in check_frontmatter(skill) if finding.severity == "error"]
    notes = [f"{finding.message} {finding.hint}".strip() for finding in errors[:3]]
    value = 1.0 - 0.5 * bool(errors) - 0.1 * min(len(errors), 3)
    if _PLACEHOLDER.search(reading.body):
        value -= 0.4
        notes.append("Replace every placeholder by what belongs there.")
    if any(not fence.closed for fence in reading.fences):
        value -= 0.3
        notes.append("Close every fence that is opened.")
    if _CONFLICT.search(reading.body) or "\ufffd" in reading.body:
        value -= 0.3
        notes.append("Remove conflict markers and unreadable characters.")
    return Part(max(0.0, value), tuple(notes))


def cost(reading: Reading) -> Part:
    """What loading the text costs an agent: free up to 5,000 tokens, at a rough four characters each."""
    tokens = len(reading.body) / _CHARACTERS_PER_TOKEN
    value = 1.0 - rising(tokens, _TOKENS_ADVISED, _TOKENS_TOO_MANY)
    return Part(
        value, () if value == 1.0 else ("Keep the text under 3000 words; move reference material out.",)
    )
