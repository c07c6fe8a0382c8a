"""Leaks: places where what is expected of an example already stands in what the program is given."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skill_fleet.domain.finding import Severity
from skill_fleet.domain.trainset import TrainingItem
from skill_fleet.domain.words import contains_run, tokens


@dataclass(frozen=True, slots=True)
class Leak:
    """An answer that shows.

    Args:
        code: `gold_in_inputs`, `gold_in_taxonomy`, `gold_in_existing_skills`, `name_in_task` or
            `name_words_in_task`.
        severity: How much it spoils.
        message: One sentence: what shows where.
        hint: What to do about it.
    """

    code: str
    severity: Severity
    message: str
    hint: str


def leaks_of(item: TrainingItem) -> Iterator[Leak]:
    """Every leak of one example of skill data; none where nothing is expected."""
    path = str(item.fields.get("expected_taxonomy_path", ""))
    name = str(item.fields.get("expected_name", ""))
    yield from _in_texts(item, path, name)
    if path and _is_leaf(item.fields["taxonomy_structure"], path, name):
        yield Leak(
            "gold_in_taxonomy",
            "error",
            f"taxonomy_structure of '{item.id}' has '{path}', where the skill is expected.",
            "Take this leaf out of the taxonomy given.",
        )
    shown = [entry for entry in item.fields["existing_skills"] if _is_gold(entry, path, name)]
    if shown:
        yield Leak(
            "gold_in_existing_skills",
            "error",
            f"existing_skills of '{item.id}' has '{shown[0]}', which is the skill expected.",
            "Take it out: the skill does not exist yet.",
        )


def names_skill(text: str, name: str) -> bool:
    """Whether the words of a skill's name stand in a text in their order and unbroken, however joined."""
    return contains_run(tokens(text), tokens(name))


def _in_texts(item: TrainingItem, path: str, name: str) -> Iterator[Leak]:
    task = item.text
    inputs = {
        "task_description": task,
        "user_context": json.dumps(item.fields["user_context"], ensure_ascii=False),
    }
    for place, text in inputs.items():
        gold = path if _stands_in(path, text) else name if _stands_in(name, text) else ""
        if gold:
            yield Leak(
                "gold_in_inputs",
                "error",
                f"{place} of '{item.id}' holds '{gold}', which is expected of the answer.",
                "Say it in other words.",
            )
    if not name or not names_skill(task, name) or _stands_in(name, task):
        return
    words = tokens(name)
    if len(words) > 1 and re.search(r"[\s_-]*".join(map(re.escape, words)), task.casefold()):
        yield Leak(
            "name_in_task",
            "error",
            f"The task of '{item.id}' holds the expected name '{name}' word for word.",
            "Describe what the skill is for instead of naming it.",
        )
    else:
        yield Leak(
            "name_words_in_task",
            "warning",
            f"The task of '{item.id}' holds the words of the expected name '{name}' in their order.",
            "Prefer words a person would use who does not know the name.",
        )


def _stands_in(gold: str, text: str) -> bool:
    """Whether a path or a name of several parts stands in a text as it is written, not as plain words."""
    if not re.search(r"[-_/]", gold):
        return False
    return re.search(rf"(?<![\w/-]){re.escape(gold.casefold())}(?![\w-])", text.casefold()) is not None


def _is_leaf(tree: Mapping[str, Any], path: str, name: str) -> bool:
    """Whether the gold skill itself hangs in the tree; a folder that other skills are in may be there."""
    node: Any = tree
    for part in path.split("/"):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return not node or bool(_folders_of(name) & set(_keys(node)))


def _keys(node: Any) -> Iterable[str]:
    return (
        node if isinstance(node, Mapping) else [str(part) for part in node] if isinstance(node, list) else ()
    )


def _is_gold(entry: str, path: str, name: str) -> bool:
    entry = entry.strip().strip("/")
    last = entry.rpartition("/")[2]
    return bool(entry) and (entry == path or last in _folders_of(name))


def _folders_of(name: str) -> set[str]:
    """How the folder of a skill may be spelled; none for a skill without a name."""
    return {name, name.replace("-", "_")} - {""}
