"""Limited attention: how many rules the simulator holds in mind, and which of them it heeds in one call.

About seven rules and 220 words of instruction fit. Past that every rule is followed less often, rules in
the middle of a long list suffer first, and a rule stated for other cases still costs a third of one that
applies.
"""

from collections.abc import Iterable

from skill_fleet.llm.offline import reading, text
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Prompt
from skill_fleet.llm.offline.rule import Kind, Rule

RULES_HELD = 7.0
WORDS_HELD = 220.0
DEMOS_HELD = 4
FOLLOWED = 0.95
"""Probability that a rule is followed when nothing competes for attention."""
_IDLE_COST = 0.33
_MIDDLE = 0.9
_HINTS = ("hint", "advice", "guideline", "instruction")


def instruction_of(prompt: Prompt) -> str:
    """What in the prompt tells how to work: the instruction, and inputs that are hints or guidelines."""
    hints = [
        prompt.values[field.name]
        for field in prompt.frame.inputs
        if field.name in prompt.values and any(mark in field.name.lower() for mark in _HINTS)
    ]
    return "\n".join([prompt.instruction, *hints]) if hints else prompt.instruction


def load(prompt: Prompt, rules: Iterable[Rule], held: Iterable[Rule]) -> float:
    """How far the prompt exceeds what can be held in mind; 1 when all fits."""
    count, applying = sum(1 for _ in rules), sum(1 for _ in held)
    weight = applying + _IDLE_COST * (count - applying)
    size = len(text.words(instruction_of(prompt)))
    demos = 1 + 0.03 * max(0, len(prompt.demos) - DEMOS_HELD)
    return max(1.0, weight / RULES_HELD) * max(1.0, size / WORDS_HELD) * demos


def heeded(prompt: Prompt, scene: Scene, luck: Draws) -> list[Rule]:
    """The rules of the instruction that apply to the scene and are followed in this call."""
    rules = reading.read_rules(instruction_of(prompt))
    held = reading.applying(rules, scene)
    if not held:
        return []
    strain = load(prompt, rules, held)
    place = {rule: index for index, rule in enumerate(rules)}
    last = len(rules) - 1
    out = []
    for rule in held:
        middle = _MIDDLE if len(rules) > 4 and 0 < place[rule] < last else 1.0
        if luck.happens(FOLLOWED * middle / strain, f"rule {rule.kind} {' '.join(rule.args)}"):
            out.append(rule)
    return out


def args_of(rules: Iterable[Rule], kind: Kind) -> list[tuple[str, ...]]:
    """The arguments of all rules of a kind, in order."""
    return [rule.args for rule in rules if rule.kind == kind]


def has(rules: Iterable[Rule], kind: Kind) -> bool:
    """Whether any of the rules is of the kind."""
    return any(rule.kind == kind for rule in rules)
