"""From the YAML library's events to a Tree: nothing is composed, resolved or constructed."""

from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.plain_yaml.tree import NULLS, Mark, Tree

MAX_DEPTH = 16
"""Deepest nesting read; the specification needs two levels."""

_NEXT_LINE = "\x85"  # content to YAML 1.2, a line break to the library
_STAND_IN = "\ue085"
_PROSE = (("description",), ("compatibility",))

_Path = tuple[str, ...] | None


def build(lines: Sequence[str], first_line: int) -> Tree:
    """The frontmatter in these lines, the first of which has this number in the file.

    Raises:
        ruamel.yaml.error.YAMLError: It is not YAML.
    """
    return _Builder(lines, first_line).tree()


def too_deep(line: int) -> Finding:
    """The finding for nesting that is not read."""
    return Finding(
        "yaml_too_deep", "error", line, f"The frontmatter is nested deeper than {MAX_DEPTH} levels."
    )


def content_end(lines: Sequence[str], at: int, column: int) -> tuple[int, int]:
    """The lines below `at` that are blank or indented beyond `column`.

    Returns:
        The line after them, and the last of them with text (or `at`); all from 0.
    """
    after, last = at + 1, at
    while after < len(lines):
        text = lines[after].strip()
        if text and len(lines[after]) - len(lines[after].lstrip(" ")) <= column:
            break
        if text:
            last = after
        after += 1
    return after, last


class _Builder:
    """One pass over the events of one frontmatter."""

    def __init__(self, lines: Sequence[str], first_line: int) -> None:
        self.lines = lines
        self.first_line = first_line
        self.marks: dict[tuple[str, ...], Mark] = {}
        self.problems: list[Finding] = []
        self.last = 0  # last line, from 0, with text of what was read so far
        text = "\n".join(lines) + "\n"
        self.stands_in = _NEXT_LINE in text and _STAND_IN not in text
        if self.stands_in:
            text = text.replace(_NEXT_LINE, _STAND_IN)
        self.events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)

    def tree(self) -> Tree:
        start = next(event for event in self.events if isinstance(event, DocumentStartEvent | StreamEndEvent))
        if isinstance(start, StreamEndEvent):
            return Tree({}, {})
        if start.explicit:
            self.refuse("yaml_invalid", start, "The frontmatter holds a YAML directive or a second document.")
        root = next(self.events)
        value = self.node(root, (), 0, -1)
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                self.refuse("yaml_invalid", event, "The frontmatter holds a second YAML document.")
                break
        if isinstance(value, dict):
            return Tree(value, self.marks, tuple(self.problems), block=not root.flow_style)
        self.refuse("yaml_not_mapping", root, "The frontmatter is not made of 'key: value' lines.")
        return Tree({}, {}, tuple(self.problems), readable=False)

    def refuse(self, code: str, event: Any, message: str, hint: str = "") -> None:
        line = self.first_line + min(event.start_mark.line, len(self.lines) - 1)
        self.problems.append(Finding(code, "error", line, message, hint))

    def node(self, event: Any, path: _Path, depth: int, column: int) -> object:
        """The value that starts with this event; `column` is where its key, or its list, stands."""
        if isinstance(event, AliasEvent):
            self.last = event.end_mark.line
            hint = "Repeat the value, or put quotes around it."
            self.refuse("yaml_alias", event, f"The alias *{event.anchor} is not allowed.", hint)
            return None
        self.properties(event)
        if isinstance(event, ScalarEvent):
            return self.scalar(event, column)
        if depth >= MAX_DEPTH:
            self.problems.append(too_deep(self.first_line + event.start_mark.line))
            self.skip()
            return None
        if isinstance(event, SequenceStartEvent):
            return self.sequence(event, depth)
        return self.mapping(event, path, depth)

    def properties(self, event: Any) -> None:
        hint = "Write the value without it, or put quotes around it."
        if event.anchor:
            self.refuse("yaml_anchor", event, f"The anchor &{event.anchor} is not allowed.", hint)
        if event.tag is not None:
            self.refuse("yaml_tag", event, f"The tag {event.tag} is not allowed.", hint)

    def skip(self) -> None:
        nesting = 1
        while nesting:
            event = next(self.events)
            nesting += isinstance(event, SequenceStartEvent | MappingStartEvent)
            nesting -= isinstance(event, SequenceEndEvent | MappingEndEvent)
            self.last = max(self.last, event.start_mark.line)

    def text(self, event: Any) -> str:
        value: str = event.value
        if self.stands_in:
            value = value.replace(_STAND_IN, _NEXT_LINE)
        if any("\ud800" <= character <= "\udfff" for character in value):
            message = "A quoted value escapes half of a surrogate pair."
            self.refuse("bad_escape", event, message, "Write the character itself.")
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value

    def scalar(self, event: Any, column: int) -> str | None:
        if event.style in {"|", ">"}:
            self.last = content_end(self.lines, event.start_mark.line, column)[1]
        elif event.style or event.value:
            self.last = event.end_mark.line
        value = self.text(event)
        return None if not event.style and value in NULLS else value

    def sequence(self, start: Any, depth: int) -> list[object]:
        items = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            self.last = event.start_mark.line
            items.append(self.node(event, None, depth + 1, start.start_mark.column))
        if start.flow_style:
            self.last = event.end_mark.line
        return items

    def mapping(self, start: Any, path: _Path, depth: int) -> dict[str, object]:
        fields: dict[str, object] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self.key(event, depth)
            line = self.last = event.start_mark.line
            twice = key in fields
            below = None if path is None or twice else (*path, key)
            value_event = next(self.events)
            value = self.node(value_event, below, depth + 1, event.start_mark.column)
            if twice:
                message = f"The key '{key}' is there twice; the first one counts."
                self.refuse("yaml_duplicate_key", event, message, "Remove one of the two.")
                continue
            fields[key] = value
            if below is not None:
                self.marks[below] = self.mark(below, line, value_event)
        if start.flow_style:
            self.last = event.end_mark.line
        return fields

    def key(self, event: Any, depth: int) -> str:
        if not isinstance(event, ScalarEvent):
            self.refuse("yaml_key_not_string", event, "A key of the frontmatter is not a word or a string.")
            return str(self.node(event, None, depth + 1, event.start_mark.column))
        self.properties(event)
        if event.value == "<<" and not event.style:
            self.refuse("yaml_merge_key", event, "The merge key << is not allowed.", "Repeat the values.")
        return self.text(event)

    def mark(self, path: tuple[str, ...], line: int, event: Any) -> Mark:
        plain = isinstance(event, ScalarEvent) and not event.style
        block_map = isinstance(event, MappingStartEvent) and not event.flow_style
        comment = self.comment_after(event)
        if comment and plain and path in _PROSE:
            message = f"'{comment.strip()[:40]}' is a comment to YAML: it is not part of the {path[0]}."
            hint = "Put quotes around the whole value."
            at = self.first_line + self.last
            self.problems.append(Finding("comment_cuts_value", "warning", at, message, hint))
            comment = ""
        return Mark(self.first_line + line, self.first_line + self.last, plain, block_map, comment)

    def comment_after(self, event: Any) -> str:
        """The comment on the last line of a value in words or quotes."""
        if not isinstance(event, ScalarEvent) or event.style in {"|", ">"} or not event.value:
            return ""
        rest = self.lines[event.end_mark.line][event.end_mark.column :]
        return rest if rest.strip().startswith("#") else ""
