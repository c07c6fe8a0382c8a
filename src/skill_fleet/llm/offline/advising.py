"""Advice per module from a better and a worse run of a program: SIMBA's and Refine's `OfferFeedback`."""

import re
from collections.abc import Mapping, Sequence

from skill_fleet.llm.offline import induction, reading, relevance, text
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt

_MODULE = re.compile(r"^Module (\S+)\s*$", re.MULTILINE)
_FIELD = re.compile(r"\d+\. `(\w+)`")
_MOST = 3


def advise(prompt: Prompt, luck: Draws) -> dict[str, str]:
    """Advice by module name: what the feedback asks, what the labels show, what only the better run has."""
    names = text.as_list(prompt.value("module_names"))
    fields = _outputs_by_module(prompt.value("modules_defn"))
    offered = _offered(prompt)
    out = {}
    for name in names:
        own = [one for one in offered if _for_module(one, fields.get(name, ()), fields)]
        kept = [one for one in own if luck.happens(0.9, f"advise {name} {one}")][:_MOST]
        out[name] = " ".join(kept) or _fallback(prompt)
    return out


def discuss(prompt: Prompt) -> str:
    """What the two runs differ in, in one sentence."""
    offered = _offered(prompt)
    about = text.ranked(_prose(prompt), 3)
    said = f"The difference lies in this: {offered[0]}" if offered else "The two runs differ in wording only."
    return f"The inputs concern {text.in_words(about) or 'one request'}. {said}"


def _fallback(prompt: Prompt) -> str:
    if prompt.value("better_reward_value"):
        return "Keep doing what works."
    about = text.ranked(_prose(prompt), 3)
    return f"Stay with {text.in_words(about)}." if about else "N/A"


def _prose(prompt: Prompt) -> list[str]:
    """What the program was given, without the names of its inputs."""
    inputs = prompt.value("program_inputs")
    return [said[:800] for said in _strings(text.parsed(inputs))] or [inputs[:800]]


def _outputs_by_module(defined: str) -> Mapping[str, tuple[str, ...]]:
    pieces = _MODULE.split(defined)
    out = {}
    for name, block in zip(pieces[1::2], pieces[2::2], strict=False):
        _, _, after = block.partition("Output Fields:")
        out[name] = tuple(_FIELD.findall(after.partition("Original Instructions:")[0]))
    return out


def _for_module(sentence: str, outputs: Sequence[str], everyone: Mapping[str, Sequence[str]]) -> bool:
    """Whether the advice is for the module with these outputs and not better placed with another."""
    rules = reading.rules_of(sentence)
    if not rules:
        return list(everyone.values())[-1:] == [outputs]
    return any(relevance.concerns(rule, outputs) for rule in rules)


def _offered(prompt: Prompt) -> list[str]:
    """Sentences of advice, most reliable first."""
    said: list[str] = []
    for name in ("worse_reward_info", "better_reward_info"):
        for value in _strings(text.parsed(prompt.value(name))) or [prompt.value(name)]:
            said += [
                re.sub(r"^Missing\b:?", "Include", sentence)
                for sentence in text.sentences(value)
                if reading.rules_of(sentence) or reading.is_directive(sentence)
            ]
    labels = induction.records_in(prompt.value("oracle_metadata"))
    inputs = induction.records_in(prompt.value("program_inputs"))
    taught = induction.lessons([{**(inputs[0] if inputs else {}), **labels[0]}]) if labels else []
    placed = [_with_case(lesson.sentence, labels) for lesson in taught]
    return list(dict.fromkeys([*said, *placed, *_gained(prompt)]))


def _with_case(sentence: str, labels: Sequence[induction.Record]) -> str:
    path = induction.path_in(labels[0])
    if path and sentence.startswith("Plan the sections"):
        return f"For {'/'.join(path[:2])} tasks, plan{sentence.removeprefix('Plan')}"
    return sentence


def _gained(prompt: Prompt) -> list[str]:
    """Section titles that the better outputs have and the worse ones lack."""
    better, worse = (_titles(prompt.value(f"{which}_program_outputs")) for which in ("better", "worse"))
    gained = [title for title in better if title not in worse][:4]
    if not gained or not worse:
        return []
    found = induction.records_in(prompt.value("better_program_outputs"))
    path = induction.path_in(found[0]) if found else ()
    where = f"For {'/'.join(path[:2])} tasks, include" if path else "Include"
    return [f"{where} the sections {text.in_words(gained)}."]


def _titles(outputs: str) -> list[str]:
    found = text.parsed(outputs)
    listed = found.get("sections") if isinstance(found, dict) else None
    if isinstance(listed, list):
        return [str(title) for title in listed]
    return re.findall(r"(?:^|\\n)## ([^\n\\]+)", outputs)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [said for item in items for said in _strings(item)]
