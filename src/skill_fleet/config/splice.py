"""A value put into the text of a YAML mapping; everything else in it stays, to the byte.

A round trip through a YAML library keeps comments, but not spacing, quotes, line ends and flow mappings as
their writer laid them out. So the new text is put in where the parser saw the node, and the outcome is read
again: it holds the old values and the new one, or nothing is given back.
"""

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@+-]*")
_STEP = 2


class CannotSplice(Exception):
    """The text is laid out in a way that leaves no safe place for the value."""


def spliced(text: str, path: Sequence[str], value: Any) -> str:
    """The text with `value` at `path`; what was there is replaced.

    Args:
        text: A YAML document that is a mapping, or is empty.
        path: Keys from the outside in.
        value: A scalar, a list of scalars, or a mapping of these.

    Raises:
        CannotSplice: The place is an alias, or comes in by a merge, or is no mapping.
        YAMLError: The text is not YAML.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    made = _put(text, list(path), value, newline)
    try:
        same = _loaded(made) == _with(_loaded(text) or {}, path, value)
    except YAMLError:
        same = False
    if not same:
        raise CannotSplice(".".join(path))
    return made


def holds(text: str, path: Sequence[str]) -> bool:
    """Whether there is something at `path`.

    Raises:
        YAMLError: The text is not YAML.
    """
    node = _loaded(text)
    for key in path:
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return True


def in_yaml(value: Any, key: str) -> str:
    """A key and its value as a block of YAML, for people to paste."""
    return _pair(key, value, 0, _STEP, "\n")


def _put(text: str, path: list[str], value: Any, newline: str) -> str:
    root = _yaml().compose(text)
    if root is None or _is_null(root):
        start = text if not text or text.endswith(newline) else text + newline
        return start + _pair(path[0], _nest(path[1:], value), 0, _STEP, newline) + newline
    step = _step(root)
    node = _mapping(root, path)
    for depth, key in enumerate(path):
        pair = next((pair for pair in node.value if pair[0].value == key), None)
        rest = path[depth + 1 :]
        if pair is None:
            return _inserted(text, node, key, _nest(rest, value), step, newline)
        if pair[1].start_mark.index < pair[0].end_mark.index:
            raise CannotSplice(".".join(path))  # an alias: what it names stands elsewhere, and is used there
        hollow = _is_null(pair[1]) or (isinstance(pair[1], MappingNode) and not pair[1].value)
        if not rest or hollow:
            return _replaced(text, node, pair, _nest(rest, value), step, newline)
        node = _mapping(pair[1], path)
    raise AssertionError("unreachable: the last key inserts or replaces")


def _inserted(text: str, node: MappingNode, key: str, value: Any, step: int, newline: str) -> str:
    if node.flow_style:
        at = _content_end(text, node.value[-1]) if node.value else node.start_mark.index + 1
        return f"{text[:at]}{', ' if node.value else ''}{_flow(key)}: {_flow(value)}{text[at:]}"
    first = node.value[0][0].start_mark
    column = node.start_mark.column if node.start_mark.line == first.line else first.column
    at = _line_end(text, _content_end(text, node.value[-1]))
    at = _past_comments(text, at, column)
    return f"{text[:at]}{newline}{_pair(key, value, column, step, newline)}{text[at:]}"


def _replaced(
    text: str, node: MappingNode, pair: tuple[Node, Node], value: Any, step: int, newline: str
) -> str:
    key, old = pair
    start, end = old.start_mark.index, _content_end(text, pair)
    if node.flow_style or not isinstance(value, dict):
        if start >= end or old.start_mark.line > key.end_mark.line:
            colon = text.find(":", key.end_mark.index) + 1
            return f"{text[:colon]} {_flow(value)}{text[end:]}"
        return f"{text[:start]}{_flow(value)}{text[end:]}"
    column = key.start_mark.column + step
    if isinstance(old, MappingNode) and old.value and not old.flow_style:
        column = old.start_mark.column
        return text[:start] + _block(value, column, step, newline).lstrip(" ") + text[end:]
    kept = text[:start].rstrip(" ") if start < end else text[:end]
    text, at = kept + text[end:], _line_end(kept + text[end:], len(kept))
    return f"{text[:at]}{newline}{_block(value, column, step, newline)}{text[at:]}"


def _content_end(text: str, pair: tuple[Node, Node]) -> int:
    """Where the last character of a pair's value ends; its mark may lie beyond blank lines and comments."""
    key, value = pair
    colon = text.find(":", key.end_mark.index) + 1
    if value.start_mark.index < key.end_mark.index:
        alias = re.compile(r"\s*\*[^\s,\]}]+").match(text, colon)
        return alias.end() if alias else colon
    if isinstance(value, MappingNode) and not value.flow_style and value.value:
        return _content_end(text, value.value[-1])
    if isinstance(value, SequenceNode) and not value.flow_style and value.value:
        last = value.value[-1]
        bare = last.start_mark.index == last.end_mark.index
        return text.rfind("-", 0, last.start_mark.index) + 1 if bare else _content_end(text, (key, last))
    if value.start_mark.index == value.end_mark.index:
        return colon
    inside = text[value.start_mark.index : value.end_mark.index]
    return int(value.start_mark.index) + len(inside.rstrip())


def _line_end(text: str, at: int) -> int:
    found = re.compile(r"\r?\n|\Z").search(text, at)
    assert found is not None  # noqa: S101 - the end of the text is found at last
    return found.start()


def _past_comments(text: str, at: int, column: int) -> int:
    """Past the lines of comments that belong to what ends at `at`: those further in than its column."""
    deeper = re.compile(rf"\r?\n[ ]{{{column + 1},}}#[^\r\n]*")
    while found := deeper.match(text, at):
        at = found.end()
    return at


def _pair(key: str, value: Any, column: int, step: int, newline: str) -> str:
    pad = " " * column
    if isinstance(value, dict) and value:
        return f"{pad}{_flow(key)}:{newline}{_block(value, column + step, step, newline)}"
    return f"{pad}{_flow(key)}: {_flow(value)}"


def _block(value: Mapping[str, Any], column: int, step: int, newline: str) -> str:
    return newline.join(_pair(key, inner, column, step, newline) for key, inner in value.items())


def _flow(value: Any) -> str:
    """A value on one line; JSON is YAML, so what is not plainly a word is written as JSON."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_flow(one) for one in value)}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not value.endswith(":"):
        return value if _loaded(value) == value else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def _nest(keys: Sequence[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _with(tree: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    made = deepcopy(tree)
    node = made
    for key in path[:-1]:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
    node[path[-1]] = list(value) if isinstance(value, tuple) else value
    return made


def _mapping(node: Node, path: Sequence[str]) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise CannotSplice(".".join(path))
    return node


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _step(node: MappingNode) -> int:
    """How far the writer of the file indents, by the first block within a block."""
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(value, MappingNode) and value.value and not value.flow_style:
            found = value.start_mark.column - key.start_mark.column
            if found > 0:
                return int(found)
    return _STEP


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _loaded(text: str) -> Any:
    return _yaml().load(text)
