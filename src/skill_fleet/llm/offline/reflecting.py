"""A new instruction from the old one and feedback: how GEPA's reflection model reads its examples.

Only sentences of the feedback that tell somebody to do something are learnt from; a bare score teaches
nothing, and then the instruction comes back unchanged.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skill_fleet.llm.offline import capacity, induction, merging, reading, relevance, text
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.rule import Rule

_NEW_AT_ONCE = 6
_WORDS = int(capacity.WORDS_HELD * 1.15)
_TEMPLATE = re.compile(r"```[^\n`]*\n(.*?)\n?```", re.DOTALL)
_RAW_EXAMPLE = re.compile(r"^# Example \d+\s*$", re.MULTILINE)
_RAW_PART = re.compile(r"^## (.+?)\s*$", re.MULTILINE)
_MISSING = re.compile(r"^(?:missing|lacks?|lacking)\b:?\s*", re.IGNORECASE)
_EXPECTED = re.compile(
    r"(?:expected|correct (?:answer|label|class)|should (?:be|have been)|gold(?: label)?|right "
    r"(?:answer|label))"
    r"(?: answer| label)?(?: is| was|:)?\s*['\"“`]?([\w][\w /-]{0,38}?)['\"”`]?(?=[.,;!)]|$|\s+(?:but"
    r"|got|instead|not|and)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Example:
    """One example with feedback, as shown to the reflection model."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    feedback: str


def reflect(prompt: Prompt, luck: Draws) -> str:
    """DSPy's `ProposeInstruction`: the new instruction."""
    current = prompt.value("current_instruction", "previous_instruction")
    shown = prompt.value("examples_with_feedback", "feedback")
    examples = _examples_in(shown) or [Example({}, {}, shown)]
    return revise(current, examples, luck)


def reflect_raw(prompt: Prompt, luck: Draws) -> str:
    """Gepa's own template in plain text: the new instruction between ``` marks."""
    found = _TEMPLATE.search(prompt.text)
    current = found.group(1) if found else ""
    rest = prompt.text[found.end() :] if found else prompt.text
    examples = []
    for block in _RAW_EXAMPLE.split(rest)[1:]:
        pieces = _RAW_PART.split(block)
        parts = dict(zip(pieces[1::2], pieces[2::2], strict=False))
        inputs, outputs = _subparts(parts.get("Inputs", "")), _subparts(parts.get("Generated Outputs", ""))
        feedback = re.split(r"\n```|\n\nYour task is", parts.get("Feedback", ""))[0]
        examples.append(Example(inputs, outputs, feedback))
    return f"```\n{revise(current, examples, luck)}\n```"


def _subparts(block: str) -> dict[str, str]:
    pieces = re.split(r"^### (\w+)\s*$", block, flags=re.MULTILINE)
    return {name: value.strip() for name, value in zip(pieces[1::2], pieces[2::2], strict=False)}


def _examples_in(shown: str) -> list[Example]:
    loaded = text.parsed(shown)
    items = loaded if isinstance(loaded, list) else [loaded] if isinstance(loaded, dict) else []
    out = []
    for item in items:
        if isinstance(item, dict):
            inputs, outputs = item.get("Inputs"), item.get("Generated Outputs")
            feedback = next((value for key, value in item.items() if str(key).lower() == "feedback"), "")
            out.append(Example(
                inputs if isinstance(inputs, dict) else {},
                outputs if isinstance(outputs, dict) else {},
                str(feedback),
            ))  # fmt: skip
    return out


def revise(current: str, examples: Sequence[Example], luck: Draws) -> str:
    """The instruction with what the feedback asks for, duplicates merged, idle sentences cut for room."""
    outputs = list(dict.fromkeys(name for example in examples for name in example.outputs))
    wanted = _wanted(examples, outputs)
    kept = list(text.sentences(current))
    known = {rule.meaning for rule in reading.read_rules(current)}
    added: list[str] = []
    confirmed: set[str] = set()
    for sentence, support in wanted.most_common():
        rules = reading.rules_of(sentence)
        if rules and {rule.meaning for rule in rules} <= known:
            confirmed |= {
                rule.sentence
                for rule in reading.read_rules(current)
                if rule.meaning in {r.meaning for r in rules}
            }
            continue
        if sentence in kept or len(added) >= _NEW_AT_ONCE:
            continue
        if luck.happens(min(0.97, 0.88 + 0.04 * support) if rules else 0.35, f"learn {sentence}"):
            added.append(_agreed(sentence, kept))
            known |= {rule.meaning for rule in rules}
    if not added:
        return current
    kept = [sentence for sentence in kept if not _superseded(sentence, added)]
    return "\n".join(_fitted(merging.merged([*kept, *added]), set(added) | confirmed))


def _wanted(examples: Sequence[Example], outputs: list[str]) -> Counter[str]:
    """Sentences worth learning with the number of examples that ask for them."""
    wanted: Counter[str] = Counter()
    heard = [list(dict.fromkeys(text.sentences(example.feedback))) for example in examples]
    for example, sentences in zip(examples, heard, strict=True):
        for raw in sentences:
            sentence = _sentence(raw)
            rules = reading.rules_of(sentence)
            if not (rules or reading.is_directive(sentence)) or not _says_something(sentence):
                continue
            if rules and not any(relevance.concerns(rule, outputs) for rule in rules):
                continue
            everywhere = all(raw in other for other in heard)
            wanted[_placed(sentence, rules, example, everywhere=everywhere)] += 1
    for lesson in _labels(examples):
        wanted[lesson.sentence] += lesson.support
    return wanted


_SPECIFIC = re.compile(
    r",? (?:as in|such as in|like) [\w/`'-]+(?=[.,;]|$)|;[^;.]* (?:is|are) missing(?=[.]|$)| "
    r"\([^()]{1,60} here\)",
    re.IGNORECASE,
)
"""What a sentence of feedback says of one example only: `, as in that-name`, `; x and y are missing`, `(x
here)`.
"""


def _sentence(raw: str) -> str:
    """A sentence of feedback as an instruction for the examples to come."""
    said = _SPECIFIC.sub("", raw.lstrip("-*•+ ").strip())
    said = text.capitalized(_MISSING.sub("Include ", said))
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _says_something(sentence: str) -> bool:
    return len(text.content_words(sentence)) >= 2 or bool(reading.rules_of(sentence))


def _placed(sentence: str, rules: Sequence[Rule], example: Example, *, everywhere: bool) -> str:
    """A demand on one example only, made conditional on where that example belongs, where that is known."""
    if everywhere or not rules or any(rule.condition for rule in rules):
        return sentence
    if not any(rule.kind in {"sections", "without_sections"} for rule in rules):
        return sentence
    path = induction.path_in(example.inputs) or induction.path_in(example.outputs)
    return (
        f"For {'/'.join(path[:2])} tasks, {sentence[:1].lower()}{sentence[1:]}" if len(path) > 1 else sentence
    )


def _labels(examples: Sequence[Example]) -> list[induction.Lesson]:
    """Words that go with the answers the feedback says were right."""
    texts: dict[str, list[str]] = {}
    subject = ""
    for example in examples:
        found = _EXPECTED.search(example.feedback)
        prose = next(
            ((name, value) for name, value in example.inputs.items() if isinstance(value, str)), None
        )
        if found and prose and len(found.group(1).split()) <= 3 and not found.group(1)[:1].isdigit():
            subject = subject or prose[0].replace("_", " ")
            texts.setdefault(found.group(1).strip(), []).append(prose[1][:600])
    return induction.associations(subject, texts) if len(texts) > 1 else []


def _agreed(sentence: str, kept: Sequence[str]) -> str:
    """A second list of titles for a case becomes what both lists have, where that is a list still."""
    new = [rule for rule in reading.rules_of(sentence) if rule.kind == "sections" and len(rule.args) > 2]
    for rule in reading.read_rules("\n".join(kept)) if new and new[0].case else ():
        common = [title for title in new[0].args if title in rule.args]
        if rule.case == new[0].case and rule.kind == "sections" and 2 < len(common) < len(new[0].args):
            return f"For {new[0].case} tasks, plan the sections {', '.join(common)}."
    return sentence


_SIZES = {"name_words", "path_depth", "max_words"}
"""Kinds of rule of which the last one said holds."""


def _superseded(sentence: str, added: Iterable[str]) -> bool:
    """Whether a new sentence says the same kind of thing for the same case (a longer list, another place)."""
    old = {(rule.kind, rule.case) for rule in reading.rules_of(sentence)}
    old = {key for key in old if key[0] in _SIZES or (key[0] in {"sections", "path", "answer"} and key[1])}
    for new in added:
        keys = {(rule.kind, rule.case) for rule in reading.rules_of(new)}
        if old and old <= keys:
            return True
    return False


def _fitted(sentences: list[str], needed: set[str]) -> list[str]:
    """As many sentences as can be held in mind.

    Idle ones go first, from the end, then rules for a narrow topic (the oldest first), then old rules that no
    feedback asked for again.
    """
    kept = list(sentences)
    idle = [one for one in reversed(kept[1:]) if not reading.rules_of(one) and one not in needed]
    narrow = [one for one in kept[1:] if _is_narrow(one)]
    stale = [one for one in kept[1:] if reading.rules_of(one) and one not in needed and one not in narrow]
    for victim in [*idle, *narrow, *stale]:
        if sum(len(text.words(one)) for one in kept) <= _WORDS:
            break
        kept.remove(victim)
    return kept


def _is_narrow(sentence: str) -> bool:
    """Whether its rules hold for some words of a task only, not for a branch or for all."""
    rules = reading.rules_of(sentence)
    return bool(rules) and all(
        rule.condition and rule.condition.topics and not rule.condition.paths for rule in rules
    )


def compress(prompt: Prompt) -> str:
    """DSPy's `CompressInstruction`: idle sentences out until the stated limit holds."""
    sentences = list(text.sentences(prompt.value("instruction")))
    found = re.search(r"(\d+) characters", prompt.value("length_limit"))
    limit = int(found.group(1)) if found else 1000
    order = sorted(range(len(sentences)), key=lambda at: (not reading.rules_of(sentences[at]), at))
    chosen: set[int] = set()
    for at in order:
        if sum(len(sentences[one]) + 1 for one in chosen) + len(sentences[at]) <= limit:
            chosen.add(at)
    return " ".join(sentences[at] for at in sorted(chosen)) or prompt.value("instruction")[:limit]
