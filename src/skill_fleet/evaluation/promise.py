"""Does a skill say what it is about, and is it about that? Trigger and grounding.

Both compare the description, the name and the task with the body, so neither can be had by writing a good
description over somebody else's text, by a description that fits everything, or by repeating words.
"""

import math
from collections import Counter
from collections.abc import Iterable

from skill_fleet.domain import words
from skill_fleet.evaluation.reading import Reading, sample, weight
from skill_fleet.evaluation.scale import Part, rising

_BY_BLOCKS = (0.0, 0.55, 0.8, 1.0)
"""How far a term counts as spoken of, by the number of blocks it is in: one mention is a mention."""
_ECHO = 0.6
_SUBJECTS = 12
_NAME_WEIGHT = 1.5
_MOST_CHARACTERS = 1024

TERMS_IN_TEXT = "Mention the terms of the task in the text;"


def trigger(reading: Reading) -> Part:
    """Whether the description tells this skill from others: enough terms, and of the body's subject.

    No phrase is looked for: guides for authors disagree about them, and a phrase is easily added to anything.
    """
    promise = reading.promise
    if not promise:
        return Part(0.0, ("Write a description that says what the skill does and when to use it.",))
    known = reading.stems | reading.name_stems
    own = math.fsum(weight(stem) for stem in promise if stem in known)
    specific = math.fsum(map(weight, promise)) / len(promise)
    value = (
        0.25 * rising(len(promise), 2, 12) + 0.6 * rising(own, 1.0, 9.0) + 0.15 * rising(specific, 0.3, 0.8)
    )
    notes = []
    if value < 0.9:
        notes.append(
            "State in the description what the skill does and when to use it, in the terms of the task."
        )
    if specific < 0.5:
        notes.append("Replace general words in the description by the names of the things it is about.")
    if len(reading.description) > _MOST_CHARACTERS:
        value *= 0.5
        notes.append("Keep the description under 500 characters.")
    return Part(value, tuple(notes))


def grounding(reading: Reading) -> Part:
    """Whether the body speaks of what the description and the name promise, and mainly of that.

    Two directions: the share of promised terms that the body speaks of, in how many places, and the share of
    the body's own subjects (the terms in most blocks) that were promised. A block made of promised terms
    alone (the description pasted, keywords listed) counts for nothing.
    """
    promised = _weights(reading)
    if not promised or not reading.blocks:
        return Part(0.0, ("Write a text that explains what the description promises.",))
    places = _places(reading, promised)
    total = math.fsum(promised.values())
    covered = math.fsum(value * _BY_BLOCKS[min(3, places[stem])] for stem, value in promised.items()) / total
    subjects = _subjects(places)
    focus = sum(stem in promised for stem in subjects) / max(len(subjects), 4)
    value = 0.6 * rising(covered, 0.15, 0.65) + 0.4 * rising(focus, 0.0, 0.34)
    notes = []
    unkept = [word for word in _named(reading.description) if places[words.stem(word)] == 0]
    if value < 0.85 and unkept:
        notes.append(f"Explain in the text what the description promises; {_missing(unkept)}.")
    elif value < 0.85:
        notes.append("Speak of the skill's own subject in every section, in the words of its description.")
    return Part(value, tuple(notes))


def spoken(reading: Reading, task: str) -> Part:
    """How much of what the task names the body speaks of; half of it is all that can be asked."""
    stems = set(words.terms(task))
    total = math.fsum(map(weight, stems))
    if not total:
        return Part(1.0)
    said = math.fsum(weight(stem) for stem in stems if stem in reading.stems) / total
    unsaid = [word for word in _named(task) if words.stem(word) not in reading.stems]
    notes = [f"{TERMS_IN_TEXT} {_missing(unsaid)}."] if said < 0.5 and unsaid else []
    return Part(rising(said, 0.15, 0.5), tuple(notes))


def _weights(reading: Reading) -> dict[str, float]:
    """What is promised: the stems of description and name, the name's weighing more."""
    promised = {stem: weight(stem) for stem in reading.promise}
    for stem in reading.name_stems:
        promised[stem] = max(promised.get(stem, 0.0), _NAME_WEIGHT * weight(stem))
    return promised


def _places(reading: Reading, promised: dict[str, float]) -> Counter[str]:
    """In how many blocks each stem stands, echoes of the promise left out."""
    places: Counter[str] = Counter()
    for block in reading.blocks:
        stems = set(block)
        if len(stems) >= 6 and sum(stem in promised for stem in block) > _ECHO * len(block):
            continue
        places.update(stems)
    return places


def _subjects(places: Counter[str]) -> list[str]:
    telling = (stem for stem in places if weight(stem) == 1.0 and len(stem) > 2 and not stem.isdigit())
    return sorted(telling, key=lambda stem: (-places[stem], stem))[:_SUBJECTS]


def _named(text: str) -> Iterable[str]:
    """The telling words of a text, longest first: long words are seldom the small change of a sentence."""
    found = dict.fromkeys(
        word for word in words.tokens(text) if word not in words.STOP_WORDS and len(word) > 3
    )
    return sorted((word for word in found if weight(words.stem(word)) == 1.0), key=lambda word: -len(word))


def _missing(unsaid: list[str]) -> str:
    return f"{sample(unsaid)} {'is' if len(unsaid) == 1 else 'are'} missing"
