"""A skill as its judge reads it, once for all parts: titles, paragraphs, code and what they are made of."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from skill_fleet.domain import markdown, words
from skill_fleet.domain.skill import Skill

_INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_STEP = re.compile(r"^[ \t]*\d+[.)][ \t]+\S", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*+][ \t]+\S", re.MULTILINE)
_TABLE_ROW = re.compile(r"^[ \t]*\|.*\|", re.MULTILINE)

GENERIC = frozenset(
    words.stem(word)
    for word in """
    ability action activity advanced agent aid another appropriate area ask aspect assist assistance
    assistant available based basic best better build careful carefully change check clear code common
    complete complex comprehensive content context correct create custom data deal deliver describe detail
    detailed different document easily easy effective effectively efficient efficiently end ensure
    essential etc every everyday everything example excellent expert expertise feature file find fine
    focus follow full function general generate generic goal good great guidance guide guideline handle
    help helper helpful high idea implement important improve include including information input instead
    instruction issue item keep key kind know language level life list look made main manage many matter
    method modern multiple necessary new nice number offer old one outcome output overview part people
    perform person possible powerful practice practices prepare problem process produce professional
    project proper properly provide quality question quick quickly read recommend related relevant request
    require response result review right robust run section set several show simple situation skill
    software solution solve specific start step subject successful support system take task team technique
    thing time tip today tool topic type understand useful user various way well whole wide within without
    work world write
    """.split()
)
"""Stems that any skill may use of anything: they say little of what this one is about."""

_GENERIC_WEIGHT = 0.2


def weight(stem: str) -> float:
    """How much a stem says of a subject: little for generic words and single characters."""
    return _GENERIC_WEIGHT if stem in GENERIC or len(stem) < 2 else 1.0


@dataclass(frozen=True)
class Reading:
    """What a skill says.

    Attributes:
        name: Its name, or an empty text.
        description: Its description, or an empty text.
        body: Its Markdown, inline code without its marks.
        sections: Headings with the text below each.
        paragraphs: Running text, list items and tables without markup, headings and code left out.
        fences: Code blocks.
        steps: Numbered list items.
        bullets: Other list items.
        rows: Table rows.
        spans: Inline code.
    """

    name: str
    description: str
    body: str
    sections: tuple[markdown.Section, ...]
    paragraphs: tuple[str, ...]
    fences: tuple[markdown.Fence, ...]
    steps: int
    bullets: int
    rows: int
    spans: int

    @cached_property
    def blocks(self) -> tuple[tuple[str, ...], ...]:
        """The stems of every paragraph and code block, stop words left out, empty blocks too."""
        said = (*self.paragraphs, *(fence.code for fence in self.fences))
        return tuple(stems for stems in (tuple(words.terms(text)) for text in said) if stems)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Every stem of the body."""
        return frozenset(stem for block in self.blocks for stem in block)

    @cached_property
    def name_stems(self) -> frozenset[str]:
        """The stems of the name's parts."""
        return frozenset(words.terms(self.name))

    @cached_property
    def promise(self) -> frozenset[str]:
        """The stems of the description."""
        return frozenset(words.terms(self.description))


def read(skill: Skill) -> Reading:
    """Read a skill; never raises, whatever it holds."""
    # Inline code is read as the words it stands among: without it, sentences have holes.
    body, spans = _INLINE_CODE.subn(r"\1", skill.body)
    fences = markdown.fences(body)
    sections = markdown.sections(body)
    titles = {section.title for section in sections}
    paragraphs = (line for line in markdown.prose(body).split("\n") if line and line not in titles)
    outside = _without_code(body, fences)
    return Reading(
        name=skill.name or "",
        description=skill.description or "",
        body=body,
        sections=sections,
        paragraphs=tuple(paragraphs),
        fences=fences,
        steps=len(_STEP.findall(outside)),
        bullets=len(_BULLET.findall(outside)),
        rows=len(_TABLE_ROW.findall(outside)),
        spans=spans,
    )


def _without_code(body: str, fences: Sequence[markdown.Fence]) -> str:
    lines = body.split("\n")
    for fence in fences:
        after = fence.line + fence.code.count("\n") + fence.closed
        lines[fence.line - 1 : after] = [""] * (min(after, len(lines)) - fence.line + 1)
    return "\n".join(lines)


def sample(items: Sequence[str], most: int = 3) -> str:
    """The first few of some words, as a phrase: `a, b and c`."""
    shown = list(items[:most])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
