"""The lines between the delimiters of a SKILL.md, read."""

import re
from collections.abc import Sequence
from dataclasses import replace

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.plain_yaml.events import MAX_DEPTH, build, content_end, too_deep
from skill_fleet.domain.plain_yaml.flat import read_flat
from skill_fleet.domain.plain_yaml.tree import INDICATORS, Tree

MAX_CHARACTERS = 64 * 1024
"""Longest frontmatter given to the YAML library; real ones stay under 6,000."""

_CONTROL = re.compile(r"[^\n\t\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KEY_LINE = re.compile(r"( *)([A-Za-z0-9_.-]+):[ \t]+(\S.*)")
_BRACKET = re.compile(r"[\[\]{}]")


def read(lines: Sequence[str], first_line: int) -> Tree:
    """A frontmatter, the first line of which has this number in the file; never raises."""
    return read_flat(lines, first_line) or read_any(lines, first_line)


def read_any(lines: Sequence[str], first_line: int) -> Tree:
    """The same, always through the YAML library, with one retry that quotes plain values holding `: `."""
    text = "\n".join(lines)
    refusal = _refusal(text, first_line)
    if refusal is not None:
        return Tree({}, {}, (refusal,), readable=False)
    problems = _control_characters(lines, first_line)
    lines = _CONTROL.sub("\ufffd", text).split("\n")
    try:
        tree = build(lines, first_line)
    except YAMLError as error:
        tree = _retry(lines, first_line) or _broken(error, lines, first_line)
    return replace(tree, problems=(*problems, *tree.problems))


def _refusal(text: str, first_line: int) -> Finding | None:
    """What would keep the library busy for minutes is not given to it."""
    if len(text) > MAX_CHARACTERS:
        message = f"The frontmatter has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read."
        return Finding("frontmatter_too_long", "error", first_line, message, "Move the text into the body.")
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth = depth + 1 if bracket[0] in "[{" else max(0, depth - 1)
        if depth > 2 * MAX_DEPTH:
            return too_deep(first_line + text.count("\n", 0, bracket.start()))
    return None


def _control_characters(lines: Sequence[str], first_line: int) -> tuple[Finding, ...]:
    """NUL is left out: it is a problem of the whole file."""
    found = []
    for number, line in enumerate(lines, first_line):
        odd = _CONTROL.search(line.replace("\0", ""))
        if odd:
            message = f"The frontmatter holds the control character U+{ord(odd[0]):04X}."
            found.append(Finding("control_character", "error", number, message, "Remove it."))
    return tuple(found)


def _broken(error: YAMLError, lines: Sequence[str], first_line: int) -> Tree:
    at, reason, hint = 0, str(error).split("\n", 1)[0], ""
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        at = min(mark.line, len(lines) - 1) if mark else 0
        reason = (error.problem or error.context or reason).split("\n", 1)[0].rstrip(".")
    key = _KEY_LINE.fullmatch(lines[at])
    if key and key[3][0] in INDICATORS:
        hint = f"Put quotes around the value of '{key[2]}': single ones when it holds double ones."
    finding = Finding(
        "yaml_invalid", "error", first_line + at, f"The frontmatter is not YAML: {reason}.", hint
    )
    return Tree({}, {}, (finding,), readable=False)


def _retry(lines: Sequence[str], first_line: int) -> Tree | None:
    quoted, changed = _quote_colons(lines)
    if not changed:
        return None
    try:
        tree = build(quoted, first_line)
    except YAMLError:
        return None
    message = "A value without quotes holds ': ', which is not YAML; it was read as if it were quoted."
    hint = "Put quotes around the whole value: other readers refuse the file."
    warnings = (Finding("colon_in_plain_value", "warning", first_line + at, message, hint) for at in changed)
    return replace(tree, problems=(*warnings, *tree.problems))


def _quote_colons(lines: Sequence[str]) -> tuple[list[str], list[int]]:
    """Plain values that hold `: ` or end with a colon, put in single quotes over all their lines."""
    out, changed, at = list(lines), list[int](), 0
    while at < len(lines):
        key = _KEY_LINE.fullmatch(lines[at])
        if key is None:
            at += 1
            continue
        after, last = content_end(lines, at, len(key[1]))
        parts = [key[3], *lines[at + 1 : last + 1]]
        if key[3][0] not in INDICATORS and any(": " in f"{part.rstrip()} " for part in parts):
            first, *rest = (part.replace("'", "''") for part in parts)
            out[at : last + 1] = [f"{key[1]}{key[2]}: '{first}", *rest]
            out[last] = f"{out[last].rstrip()}'"
            changed.append(at)
        at = after
    return out, changed
