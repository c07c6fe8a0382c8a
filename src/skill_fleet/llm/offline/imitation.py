"""Demonstrations, seen by likeness: the nearer one is to the task at hand, the more of it is copied."""

import functools
import math
import re
from collections.abc import Mapping

from skill_fleet.llm.offline import lexicon, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.prompt import Demo, Prompt

_SHARPNESS = 7.0
_PATHLIKE = re.compile(r"^[a-z][\w-]*(?:/[\w-]+)+$")
_LONG = re.compile(r"content|draft|document$|skill_md|trajectory|code", re.IGNORECASE)
_TELLING = re.compile(r"metadata|terms|context", re.IGNORECASE)
_PROSE_LIMIT = 3000


def scene_of(prompt: Prompt) -> Scene:
    """The example at hand: its taxonomy path, where an input states one, and the words of its prose."""
    return _scene(prompt.values)


@functools.lru_cache(maxsize=4096)
def _scene_of_demo(demo: Demo) -> Scene:
    scene = _scene(demo.inputs)
    path = scene.path or _path_in(demo.outputs)
    return Scene(path, scene.stems, scene.lowered)


def path_of(demo: Demo) -> tuple[str, ...]:
    """The parts of the demonstration's taxonomy path, if its inputs or outputs have one."""
    return _scene_of_demo(demo).path


def _scene(values: Mapping[str, str]) -> Scene:
    prose = []
    for name, value in values.items():
        if not value or _LONG.search(name):
            continue
        if value[0] not in "{[":
            prose.append(value)
        elif _TELLING.search(name):
            found = text.parsed(value)
            parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
            prose += [part for part in parts if isinstance(part, str) and not re.search(r"[/_]", part)]
    joined = "\n".join(prose)[:_PROSE_LIMIT]
    return Scene(_path_in(values), text.stems(joined), joined.lower())


def _path_in(values: Mapping[str, str]) -> tuple[str, ...]:
    for name, value in values.items():
        if "path" in name.lower() and _PATHLIKE.match(value.strip()):
            return tuple(value.strip().split("/"))
        if "metadata" in name.lower() and value.startswith("{"):
            found = text.parsed(value)
            inner = found.get("taxonomy_path") if isinstance(found, dict) else None
            if isinstance(inner, str) and _PATHLIKE.match(inner):
                return tuple(inner.split("/"))
    return ()


def likeness(left: Scene, right: Scene) -> float:
    """How alike two examples are, in [0, 1]: by the beginning of their paths and by their words."""
    said = text.overlap(left.stems, right.stems)
    field = lexicon.field_of(left.stems)
    related = 0.25 if field and field == lexicon.field_of(right.stems) else 0.0
    by_words = min(1.0, said + related)
    if not (left.path and right.path):
        return by_words
    shared = 0
    for one, other in zip(left.path, right.path, strict=False):
        if one != other:
            break
        shared += 1
    return 0.65 * min(1.0, shared / 2.0) + 0.35 * by_words


def nearest(prompt: Prompt, scene: Scene) -> list[tuple[Demo, float, float]]:
    """Demonstrations, likest first: with likeness in [0, 1] and share of attention (sums to 1)."""
    if not prompt.demos:
        return []
    scored = [(demo, likeness(scene, _scene_of_demo(demo))) for demo in prompt.demos]
    weights = [math.exp(_SHARPNESS * like) for _, like in scored]
    total = sum(weights)
    shared = [(demo, like, weight / total) for (demo, like), weight in zip(scored, weights, strict=True)]
    return sorted(shared, key=lambda each: -each[1])
