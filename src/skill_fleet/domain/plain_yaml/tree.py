"""A frontmatter as read: values, where each stands, and what was wrong with it."""

import re
from dataclasses import dataclass
from typing import NamedTuple

from skill_fleet.domain.finding import Finding

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
"""Unquoted texts that are no value at all (YAML 1.2 core schema)."""
INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
"""Characters that mean something to YAML where a value starts."""

_TYPED = re.compile(
    r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|y|Y|n|N|=|<<"
    r"|[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?"
    r"|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?"
    r"|[-+]?0(?:[xX][\da-fA-F_]+|[oO]?[0-7_]+|[bB][01_]+)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    r"|\d{4}-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\S.*)?",
    re.ASCII,
)


class Mark(NamedTuple):
    """Where a value stands; lines count from 1 in the file."""

    line: int
    """The line of its key."""
    end: int
    """The last line with text of it: a comment below it is not its own."""
    plain: bool
    """Written without quotes, as a flow of words."""
    block_map: bool
    """A map with lines of its own for each key."""
    comment: str
    """The comment after it, with the spaces before it: stays when the value is changed."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A frontmatter as read.

    Args:
        fields: str, None, list or dict by key, in the order of the file.
        marks: Where each value stands, by its path of keys; nothing below a list has one.
        problems: What was wrong with the YAML.
        readable: Whether it is a YAML map at all.
        block: Whether every key has lines of its own, which is what can be edited by line.
    """

    fields: dict[str, object]
    marks: dict[tuple[str, ...], Mark]
    problems: tuple[Finding, ...] = ()
    readable: bool = True
    block: bool = True


def is_typed(text: str) -> bool:
    """Whether other YAML readers take this unquoted text for a boolean, a number, a date or a merge."""
    return _TYPED.fullmatch(text) is not None
