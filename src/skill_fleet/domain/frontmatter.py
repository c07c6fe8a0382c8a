"""Where the frontmatter of a SKILL.md starts and ends, and what stands in it."""

import re
from dataclasses import dataclass

from skill_fleet.domain.finding import Finding
from skill_fleet.domain.plain_yaml.read import read
from skill_fleet.domain.plain_yaml.tree import Tree

_BOM = "\ufeff"
_LINE_END = re.compile(r"\r\n?|\n")
_BEFORE = re.compile(r"(?:[ \t]*\n|[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n)*", re.DOTALL)
_OPEN = re.compile(r"---[ \t]*(?:\n|\Z)")
_CLOSE = re.compile(r"^(---|\.\.\.)[ \t]*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"(?:[ \t]*\n)*(?:[ \t]*\Z)?")


@dataclass(frozen=True, slots=True)
class Document:
    """A SKILL.md taken apart; lines count from 1.

    Args:
        tree: The frontmatter's fields and where they stand.
        open_line: Line of the opening `---`, 0 when there is no frontmatter.
        close_line: Line of the closing delimiter, 0 when there is none.
        body: The text after the frontmatter from its first line that is not blank, with LF line ends.
        body_line: The line on which the body starts.
        problems: What is wrong with the bytes, the delimiters and the YAML, in the order of the file.
    """

    tree: Tree
    open_line: int
    close_line: int
    body: str
    body_line: int
    problems: tuple[Finding, ...]


def take_apart(source: bytes) -> Document:
    """Any sequence of bytes as a SKILL.md; what is wrong with it is in `problems`."""
    text, problems = _decode(source)
    start = _BEFORE.match(text).end()  # type: ignore[union-attr]  # the pattern matches nothing, too
    opened = _OPEN.match(text, start)
    if opened is None:
        hint = "Start the file with a line '---', then 'name:' and 'description:', then '---'."
        problems.append(Finding("frontmatter_missing", "error", 1, "The file has no frontmatter.", hint))
        return _document(Tree({}, {}, readable=False), text, 0, 0, 0, problems)
    open_line = text.count("\n", 0, start) + 1
    if start:
        message = "The frontmatter does not start on the first line of the file."
        problems.append(
            Finding("frontmatter_not_first", "error", 1, message, "Remove what stands before '---'.")
        )
    closed = _CLOSE.search(text, opened.end())
    if closed is None:
        message = "The frontmatter has no closing line '---'."
        problems.append(
            Finding("frontmatter_unclosed", "error", open_line, message, "Add it after the last field.")
        )
        return _document(Tree({}, {}, readable=False), text, 0, open_line, 0, problems)
    lines = text[opened.end() : closed.start()].split("\n")[:-1]
    close_line = open_line + 1 + len(lines)
    tree = read(lines, open_line + 1) if lines else Tree({}, {})
    problems.extend(tree.problems)
    if closed[1] == "...":
        message = "The frontmatter is closed by '...'."
        problems.append(
            Finding("frontmatter_closed_by_dots", "error", close_line, message, "Close it with '---'.")
        )
    return _document(tree, text, min(closed.end() + 1, len(text)), open_line, close_line, problems)


def _document(
    tree: Tree, text: str, after: int, open_line: int, close_line: int, problems: list[Finding]
) -> Document:
    start = _BLANK_LINES.match(text, after).end()  # type: ignore[union-attr]  # the pattern matches nothing, too
    body_line = text.count("\n", 0, start) + 1
    return Document(tree, open_line, close_line, text[start:], body_line, tuple(problems))


def _decode(source: bytes) -> tuple[str, list[Finding]]:
    """The text with LF line ends and without a byte order mark, and what was wrong with the bytes."""
    problems: list[Finding] = []
    try:
        text = source.decode("utf-8")
    except UnicodeDecodeError as error:
        text = source.decode("utf-8", "replace")
        line = len(_LINE_END.findall(source[: error.start].decode("utf-8"))) + 1
        utf16 = source[:2] in {b"\xff\xfe", b"\xfe\xff"}
        message = f"The file is not UTF-8 text: byte {error.start} is 0x{source[error.start]:02X}."
        hint = f"Save it as UTF-8{' instead of UTF-16' if utf16 else ''}."
        problems.append(Finding("not_utf8", "error", line, message, hint))
    if text.startswith(_BOM):
        text = text[1:]
        message = "The file starts with a byte order mark; some readers then see no frontmatter."
        problems.append(Finding("byte_order_mark", "warning", 1, message, "Save it as UTF-8 without BOM."))
    if "\r" in text:
        line = len(_LINE_END.findall(text[: text.index("\r")])) + 1
        text = _LINE_END.sub("\n", text)
        message = "Lines end with a carriage return (CRLF or CR)."
        problems.append(Finding("carriage_return", "warning", line, message, "Save it with LF line ends."))
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(Finding("nul_byte", "error", line, "The file holds a NUL byte.", "Remove it."))
    return text, problems
