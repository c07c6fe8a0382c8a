"""What a task is about: its goal as an instruction, its terms, its technology."""

import functools
import re
from dataclasses import dataclass

from skill_fleet.llm.offline import goals, lexicon, terms, text, verbs


@dataclass(frozen=True, slots=True)
class Subject:
    """A task, understood.

    Attributes:
        goal: An instruction without a full stop, `roll back a failed Kubernetes deployment`.
        thing: The main noun phrase, `Kubernetes deployment`.
        terms: Terms worth speaking about, the most telling first; never empty.
        technology: The language or tool named, or an empty text.
        language: Tag for code fences, or an empty text.
        action: The verb the goal starts with, lower case, or an empty text.
        points: What the task itself lists (`cost guard`, `batches that can be resumed`), in its order.
    """

    goal: str
    thing: str
    terms: tuple[str, ...]
    technology: str
    language: str
    action: str
    points: tuple[str, ...] = ()


@functools.lru_cache(maxsize=4096)
def subject_of(task: str, extra: tuple[str, ...] = ()) -> Subject:
    """The subject of a task description; `extra` are terms somebody already found, which come first."""
    goal = goals.goal_of(task)
    first = goal.split(" ", 1)[0].lower()
    own = terms.ranked_terms("\n".join(text.sentences(task.strip())), 10, goal)
    several = tuple(dict.fromkeys([*(term.strip() for term in extra if term.strip()), *own])) or ("the task",)
    found = text.content_words(task)
    technology = next((word for word in found if lexicon.is_tool(word)), "")
    technology = technology or next((word for word in found if lexicon.is_technology(word)), "")
    thing = next((term for term in own if " " in term), several[0])
    action = first if verbs.is_verb(first) else ""
    return Subject(goal, thing, several, technology, lexicon.language_of(found), action, _points(task))


def _points(task: str) -> tuple[str, ...]:
    """The items of the longest list in the task: after a colon, or between three commas and more."""
    best: list[str] = []
    for line in text.sentences(task)[:12]:
        listed = line.rpartition(": ")[2].rstrip(".!? ")
        items = [
            re.sub(r"^(?:and|or|then|with|plus)\s+", "", item.strip()) for item in re.split(r"[,;]", listed)
        ]
        items = [re.sub(r"[<>`*#\[\]{}|\"\\]", "", item) for item in items if 1 <= len(item.split()) <= 9]
        items = [item for item in items[int(": " not in line) :] if text.stems(item)]
        if len(items) > max(len(best), 1):
            best = items
    return tuple(best[:8])
