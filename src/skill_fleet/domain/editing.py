"""Changes to a SKILL.md by line: whatever is not the field itself keeps every byte."""

import re
from collections.abc import Mapping

from skill_fleet.domain.frontmatter import Document, take_apart
from skill_fleet.domain.plain_yaml.tree import Mark
from skill_fleet.domain.plain_yaml.write import field_lines
from skill_fleet.foundation.errors import DataError

_BYTE_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_END = re.compile(r"\r\n?|\n")

Path = tuple[str, ...]


def set_field(source: bytes, path: Path, value: object) -> bytes:
    """The file with one field changed, added, or removed (value None).

    A map replaces a map key by key, so that the lines of equal entries stay. The quoting and the comment
    of a changed value stay where they can; a new field comes last.

    Raises:
        DataError: The frontmatter cannot be edited by line, or the value cannot stand in it.
    """
    document = take_apart(source)
    _refuse_unreadable(document)
    old = _get(document.tree.fields, path)
    mark = document.tree.marks.get(path)
    if value is None:
        edited = source if mark is None else _remove(source, document, path, mark)
        return _verified(edited, document, path, value)
    if mark is not None and mark.block_map and isinstance(value, Mapping) and value:
        return _merge(source, path, old, value)
    if mark is not None and old == _as_read(value) and not _has_problem(document, mark):
        return source
    return _verified(_write(source, document, path, value, mark), document, path, value)


def set_body(source: bytes, text: str) -> bytes:
    """The file with another body, in the file's own line ends; blank lines after the frontmatter stay.

    Raises:
        DataError: The text holds a NUL or half a surrogate pair, or the frontmatter has no end.
    """
    document = take_apart(source)
    if document.open_line and not document.close_line:
        _refuse_unreadable(document)
    if text == document.body:
        return source
    text = checked_body(text)
    lines = _BYTE_LINE.findall(source)
    line_end = _line_end(lines, max(document.open_line, 1))
    head = b"".join(lines[: document.body_line - 1])
    if not document.body and document.close_line >= document.body_line - 1:
        head = b"".join(lines[: document.close_line]).rstrip(b"\r\n") + line_end * 2
    return head + text.encode("utf-8").replace(b"\n", line_end)


def checked_body(text: str) -> str:
    """A body as it is kept: LF line ends, no blank lines before it, a line end after it.

    Raises:
        DataError: The text holds a NUL or half a surrogate pair.
    """
    text = _LINE_END.sub("\n", text)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError("A NUL or half a surrogate pair cannot stand in the body of a SKILL.md.")
    text = re.sub(r"\A(?:[ \t]*\n)*(?:[ \t]*\Z)?", "", text)
    return text if not text or text.endswith("\n") else f"{text}\n"


def _refuse_unreadable(document: Document) -> None:
    if document.tree.readable and document.tree.block:
        return
    problem = next((found for found in document.problems if found.severity == "error"), None)
    if problem is None:
        raise DataError(
            "A frontmatter in { } on one line cannot be edited by line.",
            hint="Write it in 'key: value' lines first.",
        )
    raise DataError(
        f"The SKILL.md cannot be edited: line {problem.line}: {problem.message}", hint=problem.hint
    )


def _verified(edited: bytes, before: Document, path: Path, value: object) -> bytes:
    """The edit, when the field reads as wanted and every other field as before.

    It does not where a block scalar keeps the blank lines below it, and those of a neighbour become its own.
    """
    fields = take_apart(edited).tree.fields
    if _get(fields, path) == _as_read(value) and _others(fields, path) == _others(before.tree.fields, path):
        return edited
    raise DataError(
        f"The field '{'.'.join(path)}' cannot be changed by line as this frontmatter is written.",
        hint="Write the frontmatter in plain 'key: value' lines first.",
    )


def _others(fields: dict[str, object], path: Path) -> dict[str, object]:
    """The fields without the one at a path, and without the maps that it leaves empty."""
    rest = {key: value for key, value in fields.items() if key != path[0]}
    inner = fields.get(path[0])
    if len(path) == 1 or not inner:
        return rest
    left = _others(inner, path[1:]) if isinstance(inner, dict) else inner
    return {**rest, path[0]: left} if left else rest


def _merge(source: bytes, path: Path, old: object, new: Mapping[str, object]) -> bytes:
    for name in old if isinstance(old, dict) else ():
        if name not in new:
            source = set_field(source, (*path, name), None)
    for name, item in new.items():
        source = set_field(source, (*path, name), item)
    return source


def _remove(source: bytes, document: Document, path: Path, mark: Mark) -> bytes:
    parent = _get(document.tree.fields, path[:-1])
    if len(path) > 1 and isinstance(parent, dict):
        if len(parent) == 1:
            return set_field(source, path[:-1], None)
        if not document.tree.marks[path[:-1]].block_map:
            return set_field(
                source, path[:-1], {key: item for key, item in parent.items() if key != path[-1]}
            )
    lines = _BYTE_LINE.findall(source)
    del lines[mark.line - 1 : mark.end]
    return b"".join(lines)


def _write(source: bytes, document: Document, path: Path, value: object, mark: Mark | None) -> bytes:
    """The bytes with the field written in place, below its brothers, or with its parent."""
    marks = document.tree.marks
    if len(path) > 1:
        parent = marks.get(path[:-1])
        if parent is None or not parent.block_map:
            siblings = _get(document.tree.fields, path[:-1])
            if siblings is not None and not isinstance(siblings, dict):
                raise DataError(f"The field '{'.'.join(path[:-1])}' is not a map.")
            return set_field(source, path[:-1], {**(siblings or {}), path[-1]: value})
    lines = _BYTE_LINE.findall(source)
    model = mark or next((marks[other] for other in marks if other[:-1] == path[:-1]), None)
    indent = _indent(lines[model.line - 1]) if model else ""
    if mark is not None:
        start, end = mark.line - 1, mark.end
    else:
        start = end = marks[path[:-1]].end if len(path) > 1 else document.close_line - 1
    line_end = _line_end(lines, model.line if model else document.open_line)
    new = field_lines(path[-1], value, indent=indent, like=_quoting(lines, mark))
    if mark is not None and len(new) == 1:
        new[0] += mark.comment
    lines[start:end] = [line.encode("utf-8") + line_end for line in new]
    return b"".join(lines)


def _get(fields: object, path: Path) -> object:
    for key in path:
        if not isinstance(fields, dict) or key not in fields:
            return None
        fields = fields[key]
    return fields


def _as_read(value: object) -> object:
    """The value as it is read back: every scalar a string."""
    match value:
        case Mapping():
            return {key: _as_read(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_read(item) for item in value]
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return value


def _has_problem(document: Document, mark: Mark) -> bool:
    return any(mark.line <= problem.line <= mark.end for problem in document.tree.problems)


def _indent(line: bytes) -> str:
    return line[: len(line) - len(line.lstrip(b" "))].decode("ascii")


def _quoting(lines: list[bytes], mark: Mark | None) -> str:
    """The quote that an existing value starts with, or an empty string."""
    if mark is None or mark.plain or mark.block_map:
        return ""
    first = lines[mark.line - 1].split(b":", 1)[-1].strip()[:1]
    return first.decode("ascii", "replace") if first in {b"'", b'"'} else ""


def _line_end(lines: list[bytes], number: int) -> bytes:
    found = re.search(rb"[\r\n]+\Z", lines[number - 1]) if number <= len(lines) else None
    return found[0] if found else b"\n"
