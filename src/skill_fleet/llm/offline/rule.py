"""A rule: one thing that a text asks for."""

from dataclasses import dataclass
from typing import Literal

from skill_fleet.llm.offline.conditions import Condition

Kind = Literal[
    "sections",
    "without_sections",
    "mention",
    "close",
    "path",
    "path_depth",
    "path_leaf",
    "name_words",
    "name_first",
    "name_has",
    "name_task",
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
"""What a rule is about."""

Found = tuple[Kind, tuple[str, ...]]
"""A kind of rule and its arguments, as read in a sentence."""


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
    def case(self) -> str:
        """Where it applies, as the text says it, in lower case; empty for everywhere."""
        return self.condition.said.lower() if self.condition else ""

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for rules that ask for the same in the same case."""
        return (
            self.kind,
            tuple(arg.lower() for arg in self.args),
            self.condition and self.condition.said.lower(),
        )
