"""Where a skill belongs: a path of folders such as `technical_skills/programming/python/async`.

A tree is the nested dict that prompts and training sets hold: folders are keys, what has no key below it is
a leaf.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

from skill_fleet.foundation.errors import UsageError

MAX_DEPTH = 16
"""Longest path read, in parts; libraries use 3 to 5."""
MAX_PART = 64

_HINT = "Parts are lower_case_words joined by '/', for example technical_skills/programming/python."
_PART = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")

Tree = dict[str, "Tree"]


def parse_path(text: str) -> tuple[str, ...]:
    """The parts of a taxonomy path.

    Strict, because it becomes a path on disk: lower-case words joined by underscores, between single slashes.

    Raises:
        UsageError: It is empty, absolute, climbs with `..`, or a part is not in lower_case.
    """
    parts = tuple(text.split("/"))
    bad = next((part for part in parts if len(part) > MAX_PART or not _PART.fullmatch(part)), None)
    if bad is None and len(parts) <= MAX_DEPTH:
        return parts
    if bad is None:
        reason = f"it has {len(parts)} parts, more than {MAX_DEPTH}"
    elif not text:
        reason = "it is empty"
    elif text.startswith("/"):
        reason = "it is absolute"
    elif bad in {".", ".."}:
        reason = f"it holds '{bad}'"
    elif not bad:
        reason = "it has an empty part"
    elif len(bad) > MAX_PART:
        reason = f"a part has more than {MAX_PART} characters"
    else:
        reason = f"the part {bad!r} is not in lower_case"
    raise UsageError(f"The taxonomy path {text[:80]!r} cannot be used: {reason}.", hint=_HINT)


def tree_of(paths: Iterable[str]) -> Tree:
    """The tree that holds these paths; a path that is the beginning of another is no leaf of it.

    Raises:
        UsageError: One of them is not a taxonomy path.
    """
    tree: Tree = {}
    for path in sorted(set(paths)):
        node = tree
        for part in parse_path(path):
            node = node.setdefault(part, {})
    return tree


def paths_of(tree: Mapping[str, object]) -> list[str]:
    """The leaves of a tree, sorted; whatever is not a dict with keys ends a path."""
    return sorted("/".join(parts) for parts in _leaves(tree, ()))


def _leaves(tree: Mapping[str, object], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, below in tree.items():
        if _is_folder(below):
            yield from _leaves(below, (*above, name))
        else:
            yield (*above, name)


def without_leaf(tree: Mapping[str, object], path: str) -> dict[str, object]:
    """A copy of the tree without the leaf at a path; the folders above it stay, empty or not.

    A path that is not there, or that has other paths below it, changes nothing.
    """
    copied = copy.deepcopy(dict(tree))
    *above, leaf = path.split("/")
    node = copied
    for part in above:
        below = node.get(part)
        if not isinstance(below, dict):
            return copied
        node = below
    if not _is_folder(node.get(leaf)):
        node.pop(leaf, None)
    return copied


def _is_folder(below: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(below, Mapping) and bool(below)


def common_depth(a: str, b: str) -> int:
    """How many parts two paths share from the top."""
    depth = 0
    for one, other in zip(a.split("/"), b.split("/"), strict=False):
        if not one or one != other:
            break
        depth += 1
    return depth
