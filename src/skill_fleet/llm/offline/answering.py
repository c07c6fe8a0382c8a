"""Answers for any signature: labels, numbers, lists, objects and short texts.

In this order: rules of the instruction that apply, near demonstrations, and last a weak habit: the option
whose words are nearest to the input, the sentence that shares most words with the question.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skill_fleet.llm.offline import capacity, imitation, lexicon, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Field, Prompt
from skill_fleet.llm.offline.rule import Rule
from skill_fleet.llm.offline.subject import subject_of

_LABEL_WORDS = 4
_LIMIT = re.compile(r"(greater|less) than(?: or equal to)?: (-?\d+(?:\.\d+)?)")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_TRUE = frozenset({"true", "yes", "1", "correct", "right", "positive"})
_FALSE = frozenset({"false", "no", "0", "incorrect", "wrong", "negative"})


@dataclass(frozen=True, slots=True)
class Given:
    """What an answer can rest on: the prompt, the example at hand, the rules heeded, luck."""

    prompt: Prompt
    scene: Scene
    rules: list[Rule]
    luck: Draws


def answer(field: Field, given: Given) -> Any:
    """A value of the field's type."""
    kind = field.type
    if field.options and not kind.startswith(("list", "dict", "set", "tuple")):
        return choose(field, field.options, given)
    if kind == "bool":
        return _truth(field, given)
    if kind in {"int", "float"}:
        return _number(field, given)
    if kind.startswith("list") and _plain_items(field):
        return _listed(field, given)
    if field.schema is not None and not kind.startswith("Union[str"):
        return _instance(field.schema, field.schema.get("$defs", {}), field, given)
    return {} if kind.startswith("dict") else _text(field, given)


def _plain_items(field: Field) -> bool:
    """Whether a list is one of plain texts, or of options."""
    items = field.schema.get("items", {}) if field.schema else {}
    return bool(field.options) or not items or (items.get("type") == "string" and "enum" not in items)


def choose(field: Field, options: Sequence[str], given: Given) -> str:
    """One of the options."""
    if "tool" in field.name and "finish" in options:
        return "finish"
    score = {option: 0.4 * given.luck.taste(f"{field.name} {option}") for option in options}
    for option in options:
        names = text.stems(option.replace("_", " ").replace("-", " "))
        score[option] += 1.2 * text.overlap(names, given.scene.stems)
        score[option] += 0.3 * max(
            (lexicon.affinity(word, given.scene.stems) for word in text.words(option)), default=0
        )
    for option, worth in _defined(given.prompt.instruction, options, given.scene).items():
        score[option] += worth
    for rule in given.rules:
        if rule.kind == "answer":
            named = _option_in(rule.args[0], options) or _option_in(rule.action, options)
            if named:
                score[named] += 3.0
    for demo, like, share in imitation.nearest(given.prompt, given.scene):
        shown = _option_in(demo.outputs.get(field.name, ""), options)
        if shown:
            score[shown] += 2.0 * share * (0.3 + like)
    return max(options, key=lambda option: score[option])


def _option_in(said: str, options: Sequence[str]) -> str:
    low = said.strip().strip("'\"").lower()
    exact = next((option for option in options if option.lower() == low), "")
    if exact:
        return exact
    hits = [option for option in options if re.search(rf"(?<!\w){re.escape(option.lower())}(?!\w)", low)]
    return max(hits, key=len) if hits else ""


def _defined(instruction: str, options: Sequence[str], scene: Scene) -> Mapping[str, float]:
    """Options that the instruction explains (`billing: refunds`), by the words shared with the input."""
    out: dict[str, float] = defaultdict(float)
    for sentence in text.sentences(instruction):
        head, mark, rest = sentence.lstrip("-*+• `").partition(":")
        if not mark:
            found = re.match(
                r"^(.{1,40}?)\s+(?:means|is for|are for|covers|concerns|is about|are about|-|–)\s+(.+)$", head
            )
            head, rest = (found.group(1), found.group(2)) if found else ("", "")
        option = _option_in(head, options) if len(head) < 60 else ""
        if option and rest:
            out[option] += min(2.5, 1.2 * len(text.stems(rest) & scene.stems))
    return out


def _truth(field: Field, given: Given) -> bool:
    said = [rule.args[0].lower() for rule in given.rules if rule.kind == "answer"]
    for word in said:
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    votes = 0.0
    for demo, like, share in imitation.nearest(given.prompt, given.scene):
        shown = demo.outputs.get(field.name, "").strip().lower()
        votes += share * (0.3 + like) * ((shown in _TRUE) - (shown in _FALSE))
    if votes:
        return votes > 0
    return given.luck.happens(0.6, f"truth {field.name}")


def _number(field: Field, given: Given) -> float | int:
    low, high = 0.0, 10.0 if field.type == "int" else 1.0
    bounded = {kind: float(value) for kind, value in _LIMIT.findall(field.description)}
    low, high = bounded.get("greater", low), bounded.get("less", max(high, bounded.get("greater", low) + 1))
    ruled = [
        found.group()
        for rule in given.rules
        if rule.kind == "answer" and (found := _NUMBER.search(rule.args[0]))
    ]
    shown = [
        (float(found.group()), share)
        for demo, _, share in imitation.nearest(given.prompt, given.scene)
        if (found := _NUMBER.search(demo.outputs.get(field.name, "")))
    ]
    seen = (
        _NUMBER.findall("\n".join(given.prompt.values.values()))
        if not re.search(r"score|rating|confiden|quality", field.name)
        else []
    )
    if ruled:
        value = float(ruled[-1])
    elif shown:
        value = sum(number * share for number, share in shown) / sum(share for _, share in shown)
    elif seen:
        value = float(seen[0])
    else:
        value = low + (high - low) * (0.55 + 0.35 * given.luck.taste(field.name))
    value = min(max(value, low), high) if bounded else value
    return round(value) if field.type == "int" else round(value, 3)


def _listed(field: Field, given: Given) -> list[str]:
    if field.options:
        return [option for option in field.options if given.luck.happens(0.5, f"{field.name} {option}")] or [
            field.options[0]
        ]
    sizes = [
        len(text.as_list(demo.outputs[field.name]))
        for demo in given.prompt.demos
        if field.name in demo.outputs
    ]
    size = round(sum(sizes) / len(sizes)) if sizes else 4
    subject = subject_of(_main_input(given.prompt))
    return list(subject.terms[: max(size, 1)])


def _main_input(prompt: Prompt) -> str:
    prose = [value for value in prompt.values.values() if value and value[0] not in "{["]
    return max(prose, key=len, default=prompt.text)[:2000]


def _text(field: Field, given: Given) -> str:
    shown = [demo.outputs[field.name] for demo in given.prompt.demos if field.name in demo.outputs]
    labels = [value for value in shown if len(value.split()) <= _LABEL_WORDS]
    ruled = [rule.args[0] for rule in given.rules if rule.kind == "answer"]
    if (labels and len(set(labels)) <= 0.7 * len(shown)) or (labels and ruled):
        return choose(field, tuple(dict.fromkeys([*labels, *ruled])), given)
    if ruled:
        return ruled[0]
    said = _extracted(field, given.prompt, short=bool(labels))
    limits = [int(args[0]) for args in capacity.args_of(given.rules, "max_words")]
    if limits or capacity.has(given.rules, "concise"):
        said = " ".join(said.split()[: min([*limits, 40])])
    said = "\n\n".join(
        [
            said,
            *(f"{title}: see above." for args in capacity.args_of(given.rules, "sections") for title in args),
        ]
    )
    said = " ".join([said, *(literal for (literal,) in capacity.args_of(given.rules, "mention"))])
    return "\n\n".join([said, *(literal for (literal,) in capacity.args_of(given.rules, "close"))])


def _extracted(field: Field, prompt: Prompt, *, short: bool) -> str:
    """The sentence of the other inputs nearest to the first one; a restatement where it stands alone."""
    values = [value for value in prompt.values.values() if value]
    if not values:
        return " ".join(prompt.text.split()[:40]) or "Nothing was asked."
    question = prompt.value("question", "query", "claim") or values[0]
    context = max((value for value in values if value != question), key=len, default="")
    asked = text.stems(question)
    if len(context) > 40 and context[0] not in "{[":
        best = max(
            text.sentences(context[:6000]),
            key=lambda line: text.overlap(text.stems(line), asked),
            default=context,
        )
        if not short:
            return best
        fresh = [word for word in text.content_words(best) if text.stem(word) not in asked]
        return " ".join(fresh[:3]) or best
    subject = subject_of(question[:2000])
    if re.search(r"title|headline|subject|topic|name", field.name):
        return " ".join(word.capitalize() for word in subject.thing.split())
    if short:
        return subject.thing
    return f"To {subject.goal}: start with {subject.terms[0]}, then check {subject.terms[-1]}."


def _instance(
    schema: Mapping[str, Any], defs: Mapping[str, Any], field: Field, given: Given, depth: int = 0
) -> Any:
    """A value that fits a JSON schema; what its fields hold is answered like any output field."""
    chosen = _resolved(schema, defs)
    if depth > _DEEPEST or "const" in chosen:
        return chosen.get("const")
    if chosen.get("enum"):
        options = tuple(str(option) for option in chosen["enum"])
        return chosen["enum"][options.index(choose(field, options, given))]
    kind = str(chosen.get("type"))
    if kind == "object":
        inner = chosen.get("properties", {})
        wanted = chosen.get("required", inner)
        return {
            name: _instance(inner.get(name, {}), defs, Field(name, "str"), given, depth + 1)
            for name in wanted
        }
    if kind == "array":
        return [_instance(chosen.get("items", {}), defs, field, given, depth + 1)]
    if kind == "null":
        return None
    return answer(Field(field.name, _TYPES.get(kind, "str"), field.description), given)


def _resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind references and alternatives: the first of those."""
    for _ in range(_DEEPEST):
        if schema.get("$ref"):
            schema = defs.get(schema["$ref"].rsplit("/", 1)[-1], {})
            continue
        several = next((schema[name] for name in ("anyOf", "oneOf", "allOf") if schema.get(name)), None)
        if several is None:
            break
        schema = several[0]
    return schema


_TYPES = {"integer": "int", "number": "float", "boolean": "bool"}
_DEEPEST = 6
