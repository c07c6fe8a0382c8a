"""The fast path: frontmatters of flat `key: value` lines, which is what most skills have.

Whatever it accepts it reads as the YAML library does (a law of the tests); for anything else it says None.
"""

import re
from collections.abc import Sequence

from skill_fleet.domain.plain_yaml.tree import INDICATORS, NULLS, Mark, Tree

_NOT_SIMPLE = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*):(?: +(.*))?")
_SINGLE = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE = re.compile(r'"([^"\\]*)"')


def read_flat(lines: Sequence[str], first_line: int) -> Tree | None:
    """Lines that are all `key: value` on one line, blank, or comments; None for anything else."""
    if _NOT_SIMPLE.search("\n".join(lines)):
        return None
    fields: dict[str, object] = {}
    marks: dict[tuple[str, ...], Mark] = {}
    for number, line in enumerate(lines, first_line):
        if not line.strip(" ") or line[0] == "#":
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[1] in fields:
            return None
        text = (found[2] or "").rstrip(" ")
        plain = text[:1] not in {"'", '"'}
        value = _plain(text) if plain else _quoted(text)
        if value is None:
            return None
        fields[found[1]] = None if plain and value in NULLS else value
        marks[(found[1],)] = Mark(number, number, plain, block_map=False, comment="")
    return Tree(fields, marks)


def _plain(text: str) -> str | None:
    if text and (text[0] in INDICATORS or ": " in text or " #" in text or text[-1] == ":"):
        return None
    return text


def _quoted(text: str) -> str | None:
    single = text[0] == "'"
    found = (_SINGLE if single else _DOUBLE).fullmatch(text)
    if found is None:
        return None
    return found[1].replace("''", "'") if single else found[1]
