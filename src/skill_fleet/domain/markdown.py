"""What the Markdown of a skill is made of, as CommonMark defines it: sections, code blocks, links and prose.

Blocks are parsed by markdown-it-py, the inside of a paragraph only where a question is asked about it. Lines
count from 1 in the text given; in the skill's file they are `skill.body_line - 1` more.
"""

import re
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.autolink import autolink
from markdown_it.rules_inline.image import image
from markdown_it.rules_inline.link import link
from markdown_it.token import Token

_WRAPPED = ("", "markdown", "md", "yaml", "yml")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and the text below it, up to the next heading of any level.

    Headings inside quotes and lists, and `#` lines inside code, make no section.
    """

    level: int
    title: str
    """Without markup: `code` and *emphasis* as their text."""
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced code block, wherever it stands."""

    info: str
    """Everything after the opening fence."""
    language: str
    """Its first word in lower case, or an empty string."""
    code: str
    line: int
    closed: bool
    """False: the text, or the quote or list item around it, ended before the code did."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link, image or autolink."""

    target: str
    """Percent-decoded; of `[text][label]` the address that the label stands for."""
    text: str
    line: int


def sections(text: str) -> tuple[Section, ...]:
    """The sections in order; what stands before the first heading belongs to none."""
    return _blocks(text).sections


def fences(text: str) -> tuple[Fence, ...]:
    """The fenced code blocks in order."""
    return _blocks(text).fences


def links(text: str) -> tuple[Link, ...]:
    """Links, images and autolinks in order, those inside tables and headings too; none from code or HTML."""
    return _blocks(text).links


@lru_cache(maxsize=64)
def prose(text: str) -> str:
    """The words of a text without code, HTML, link targets and markup; a paragraph or heading a line."""
    blocks = _blocks(text)
    lines = (" ".join("".join(_words(_inline(token, blocks.environment))).split()) for token in blocks.inline)
    return "\n".join(line for line in lines if line)


def outer_fence_stripped(text: str) -> str:
    """A document that stands as a whole inside one ```` ```markdown ```` fence, without the fence.

    Models wrap their answers so, often with further fences of the same length inside, which CommonMark reads
    as the end of the first. Any other text is returned as it is.
    """
    lines = text.strip().split("\n")
    first, last = _FENCE.fullmatch(lines[0].rstrip()), _FENCE.fullmatch(lines[-1].rstrip())
    if len(lines) < 2 or first is None or last is None or last[2] or first[2].strip().lower() not in _WRAPPED:
        return text
    if first[1][0] != last[1][0] or len(last[1]) < len(first[1]):
        return text
    inside = lines[1:-1]
    start = next((line for line in inside if line.strip()), "")
    if start.rstrip() == "---" or (_starts_as_document(first[2], start) and _balanced(inside)):
        return "\n".join(inside).strip("\n") + "\n"
    return text


def _starts_as_document(info: str, first_line: str) -> bool:
    return info.strip().lower() in {"markdown", "md"} or first_line.startswith("# ")


def _balanced(lines: list[str]) -> bool:
    """Whether every fence that opens inside closes inside, an opening one being the one with a language."""
    depth = 0
    for line in lines:
        found = _FENCE.fullmatch(line.rstrip())
        if found is None:
            continue
        depth += 1 if found[2] else -1
        if depth < 0:
            return False
    return depth == 0


class _Blocks:
    """A text parsed into blocks; what is asked about them is found once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.environment: MutableMapping[str, Any] = {}
        self.tokens = _PARSER.parse(text, self.environment)
        self.inline = [token for token in self.tokens if token.type == "inline"]

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        return tuple(_sections(self.tokens, self.text, self.environment))

    @cached_property
    def fences(self) -> tuple[Fence, ...]:
        return tuple(_fence(token) for token in self.tokens if token.type == "fence")

    @cached_property
    def links(self) -> tuple[Link, ...]:
        return tuple(found for token in self.inline for found in _links(token, self.environment))


def _placed(rule: Any) -> Any:
    def place(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # the library's signature
        start, count = state.pos, len(state.tokens)
        matched: bool = rule(state, silent)
        if matched and not silent:
            opened = next(token for token in state.tokens[count:] if token.type in {"link_open", "image"})
            opened.meta["at"] = start
        return matched

    return place


def _parser() -> MarkdownIt:
    """CommonMark that parses blocks only, and whose links say where in their paragraph they stand."""
    parser = MarkdownIt("commonmark")
    parser.core.ruler.disable(["inline", "text_join"])
    for name, rule in (("link", link), ("image", image), ("autolink", autolink)):
        parser.inline.ruler.at(name, _placed(rule))
    return parser


_PARSER = _parser()


_blocks = lru_cache(maxsize=64)(_Blocks)


def _sections(tokens: list[Token], text: str, environment: MutableMapping[str, Any]) -> Iterator[Section]:
    opens = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.level == 0]
    lines = _lines(text)
    for order, at in enumerate(opens):
        first, after = tokens[at].map or (0, 0)
        until = (tokens[opens[order + 1]].map or (0, 0))[0] if order + 1 < len(opens) else len(lines)
        title = "".join(_words(_inline(tokens[at + 1], environment), code=True))
        body = "\n".join(lines[after:until]).strip("\n")
        yield Section(int(tokens[at].tag[1]), " ".join(title.split()), first + 1, body)


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _fence(token: Token) -> Fence:
    first, after = token.map or (0, 0)
    lines_of_code = token.content.count("\n") + (not token.content.endswith("\n") and bool(token.content))
    info = token.info.strip()
    language = info.split()[0].lower() if info else ""
    return Fence(info, language, token.content, first + 1, closed=after - first == lines_of_code + 2)


def _links(token: Token, environment: MutableMapping[str, Any]) -> Iterator[Link]:
    marks = ("](", "<", "[") if environment.get("references") else ("](", "<")
    if not any(mark in token.content for mark in marks):
        return
    first = (token.map or (0, 0))[0] + 1
    children = _inline(token, environment)
    for at, child in enumerate(children):
        if child.type not in {"link_open", "image"}:
            continue
        target = unquote(str(child.attrs.get("href" if child.type == "link_open" else "src", "")))
        inside = [child] if child.type == "image" else _until_close(children[at + 1 :])
        label = " ".join("".join(_words(inside, code=True)).split())
        yield Link(target, label, first + token.content.count("\n", 0, child.meta["at"]))


def _until_close(tokens: list[Token]) -> list[Token]:
    end = next(at for at, token in enumerate(tokens) if token.type == "link_close")
    return tokens[:end]


def _inline(token: Token, environment: MutableMapping[str, Any]) -> list[Token]:
    """The parts of a paragraph, heading or cell; parsed once."""
    if not token.children:
        children: list[Token] = []
        _PARSER.inline.parse(token.content, _PARSER, environment, children)
        token.children = children
    return token.children


def _words(tokens: list[Token], *, code: bool = False) -> Iterator[str]:
    for token in tokens:
        if token.type in {"softbreak", "hardbreak"}:
            yield " "
        elif token.type == "image":
            yield from _words(token.children or [], code=code)
        elif token.type in {"text", "text_special"} or (code and token.type == "code_inline"):
            yield token.content
