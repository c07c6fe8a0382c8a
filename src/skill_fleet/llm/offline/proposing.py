"""Instruction proposals of MIPROv2, COPRO and InferRules: from descriptions, examples and attempts.

Each answer is made of what its prompt shows; with nothing to go by, the instruction comes back reworded.
"""

import re
from collections.abc import Sequence

from skill_fleet.llm.offline import capacity, induction, merging, reading, relevance, text
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt

_SUMMARY = 12
_RULES = {"concise": 5, "descriptive": 12, "": 9}
_SIGNATURE = re.compile(r"->\s*(.+?)\)?\s*$", re.DOTALL)
_SCORED = re.compile(r"^(.*?) \| Score: ([\d.]+)\s*$", re.MULTILINE | re.DOTALL)
_ATTEMPT = re.compile(r"Instruction #(\d+):\s*(.*?)(?=»|Prefix #\1|$)", re.DOTALL)
_MANNERS = (
    "Read every input before answering.",
    "Be specific to this request.",
    "Decide first, then write.",
    "Leave out whatever does not serve the request.",
    "Look at the result once more before returning it.",
)
"""Manners of speaking: they ask for nothing that can be checked and change only the wording."""


def describe_dataset(prompt: Prompt, luck: Draws) -> str:
    """What examples have in common: their subject and what `induction` finds; COMPLETE for nothing new."""
    prior = prompt.value("prior_observations")
    records = induction.records_in(prompt.value("examples"))
    found = [lesson.sentence for lesson in induction.lessons(records)]
    fresh = [
        sentence for sentence in found if sentence not in prior and luck.happens(0.85, f"observe {sentence}")
    ]
    if prior:
        return " " + " ".join(fresh) if fresh else "COMPLETE"
    subjects = text.ranked([_prose(record) for record in records] or [prompt.value("examples")[:2000]], 5)
    opening = f"Requests concern {text.in_words(subjects)}." if subjects else "Requests are short."
    return " ".join([opening, *fresh])


def _prose(record: induction.Record) -> str:
    return next((value for value in record.values() if isinstance(value, str) and value[:1] not in "[{"), "")


def summarize(prompt: Prompt, luck: Draws) -> str:
    """The observations that say most: those with a rule in them first, a few more for the subject."""
    sentences = merging.merged(text.sentences(prompt.value("observations")))
    telling = [sentence for sentence in sentences if reading.rules_of(sentence)]
    plain = [sentence for sentence in sentences if sentence not in telling][:1]
    chosen = set(luck.shuffled(telling, "summary")[:_SUMMARY])
    kept = [*plain, *(sentence for sentence in telling if sentence in chosen)]
    return " ".join(kept) or "The requests have little in common."


def describe_program(prompt: Prompt) -> str:
    """What the code and its example say about the program."""
    code = prompt.value("program_code")
    calls = len(re.findall(r"\b(?:Predict|ChainOfThought|ReAct)\(", code))
    subjects = text.ranked([prompt.value("program_example")[:1500], code[:1500]], 4)
    return (
        f"A program of {max(calls, 1)} model calls that works on {text.in_words(subjects) or 'its inputs'}."
    )


def describe_module(prompt: Prompt) -> str:
    """What the module's signature says about its part."""
    outputs = _outputs(prompt.value("module"))
    return f"This module produces {text.in_words(outputs) or 'the answer'} for the steps that follow."


def _outputs(module: str) -> list[str]:
    found = _SIGNATURE.search(module)
    return [name.strip() for name in found.group(1).split(",") if name.strip()] if found else []


def propose(prompt: Prompt, luck: Draws) -> str:
    """MIPROv2's and COPRO's instruction: the basic one, with rules the prompt supports for this module."""
    attempts = prompt.value("attempted_instructions")
    if attempts:
        return _recombined(attempts, luck)
    basic = prompt.value("basic_instruction")
    outputs = _outputs(prompt.value("module"))
    tip = prompt.value("tip").lower()
    offered = _offered(prompt, outputs)
    known = {rule.meaning for rule in reading.read_rules(basic)}
    fresh = [one for one in offered if not {rule.meaning for rule in reading.rules_of(one)} <= known]
    limit = (
        _RULES["concise"]
        if "concise" in tip
        else _RULES["descriptive"]
        if "descriptive" in tip
        else _RULES[""]
    )
    chosen = {one for one in luck.shuffled(fresh, "propose")[:limit] if luck.happens(0.9, f"propose {one}")}
    kept = [one for one in fresh if one in chosen]
    if not kept and "module" not in prompt.values:
        kept = luck.shuffled(_MANNERS, "manner")[:1]
    return "\n".join(part for part in (_frame(tip, outputs), basic, *kept) if part)


def _frame(tip: str, outputs: Sequence[str]) -> str:
    if "persona" in tip:
        return f"You are an experienced author of {text.in_words(outputs) or 'such answers'}."
    if "high stakes" in tip:
        return "A release depends on this answer and nobody will correct it."
    return ""


def _offered(prompt: Prompt, outputs: Sequence[str]) -> list[str]:
    """Sentences that hold a rule for this module, best grounded first."""
    demos = prompt.value("task_demos")
    shown = [] if "No task demos" in demos else induction.lessons(induction.records_in(demos))
    earlier = sorted(_SCORED.findall(prompt.value("previous_instructions")), key=lambda pair: -float(pair[1]))
    said = [
        *(lesson.sentence for lesson in shown),
        *text.sentences(prompt.value("dataset_description")),
        *(sentence for instruction, _ in earlier[:3] for sentence in text.sentences(instruction)),
    ]
    out = []
    for sentence in dict.fromkeys(said):
        rules = reading.rules_of(sentence)
        if rules and any(relevance.concerns(rule, outputs) for rule in rules):
            out.append(sentence)
    return out


def _recombined(attempts: str, luck: Draws) -> str:
    """The best attempt (they are listed in rising order), with rules of the others and an own manner."""
    found = [said.strip() for _, said in _ATTEMPT.findall(attempts)]
    if not found:
        return text.as_list(attempts)[-1] if attempts.strip() else "Answer the request."
    best = found[-1]
    known = {rule.meaning for rule in reading.read_rules(best)}
    others = [
        sentence
        for said in found[:-1]
        for sentence in text.sentences(said)
        if (rules := reading.rules_of(sentence)) and not {rule.meaning for rule in rules} <= known
    ]
    kept = [one for one in dict.fromkeys(others) if luck.happens(0.5, f"recombine {one}")][:3]
    manner = [one for one in luck.shuffled(_MANNERS, "manner") if one not in best][:1]
    return "\n".join([best, *kept, *manner])


def prefix(prompt: Prompt) -> str:
    """COPRO's prefix for the output field."""
    basic = prompt.value("basic_instruction", "attempted_instructions")
    subject = text.ranked([basic[:500]], 1)
    return f"{text.capitalized(subject[0])}:" if subject else "Answer:"


def induce(prompt: Prompt, luck: Draws) -> str:
    """InferRules: rules that the examples support, one a line."""
    found = re.search(r"list of (\d+)", prompt.instruction)
    limit = min(int(found.group(1)) if found else 7, int(capacity.RULES_HELD) + 3)
    records = induction.records_in(_joined(prompt.value("examples_text")))
    taught = [
        one.sentence for one in induction.lessons(records) if luck.happens(0.85, f"induce {one.sentence}")
    ]
    if not taught:
        subjects = text.ranked([prompt.value("examples_text")[:3000]], 3)
        taught = [f"Stay with the subject of the examples, such as {text.in_words(subjects) or 'these'}."]
    return "\n".join(f"{at}. {sentence}" for at, sentence in enumerate(taught[:limit], 1))


def _joined(examples: str) -> str:
    """The examples with the separators between inputs and outputs taken out."""
    return re.sub(r"^(?:Input Fields:|Output Fields:|=+)\s*$", "", examples, flags=re.MULTILINE)
