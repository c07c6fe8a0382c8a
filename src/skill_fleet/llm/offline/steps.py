"""Which room answers which output field: chosen by the field's name and its neighbours, never by who asks."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skill_fleet.llm.offline import (
    advising,
    answering,
    capacity,
    imitation,
    placing,
    planning,
    proposing,
    reflecting,
    reviewing,
    text,
    writing,
)
from skill_fleet.llm.offline.conditions import Scene
from skill_fleet.llm.offline.draws import Draws
from skill_fleet.llm.offline.prompt import Field, Prompt
from skill_fleet.llm.offline.rule import Rule
from skill_fleet.llm.offline.subject import Subject, subject_of

_TASKS = ("task_description", "task", "request", "topic", "question", "query", "goal")


@dataclass(slots=True)
class Step:
    """One call being answered, field by field, in the order of the signature.

    Attributes:
        prompt: What was read.
        luck: The draws of this call.
        scene: The example at hand.
        done: Values of the fields answered so far.
    """

    prompt: Prompt
    luck: Draws
    scene: Scene
    done: dict[str, Any] = field(default_factory=dict)
    _rules: dict[tuple[str, ...], list[Rule]] = field(default_factory=dict)

    @property
    def rules(self) -> list[Rule]:
        """The rules heeded in this call, read again once a path has been decided."""
        path = self.done.get("taxonomy_path") or self.done.get("path")
        parts = tuple(path.split("/")) if isinstance(path, str) and not self.scene.path else self.scene.path
        if parts not in self._rules:
            scene = Scene(parts, self.scene.stems, self.scene.lowered)
            self._rules[parts] = capacity.heeded(self.prompt, scene, self.luck)
        return self._rules[parts]

    @property
    def subject(self) -> Subject:
        """What the call's task is about."""
        task = self.prompt.value(*_TASKS) or next(iter(self.prompt.values.values()), "")
        listed = self.prompt.value("key_terms", "keywords", "terms")
        return subject_of(task[:2000], text.as_list(listed) if listed else ())


Answer = Callable[[Step], Any]


def _proposing(step: Step) -> str:
    return proposing.propose(step.prompt, step.luck)


def _key_terms(step: Step) -> list[str]:
    terms = [term for term in step.subject.terms if step.luck.happens(0.94, f"key {term}")]
    most = 8 if capacity.has(step.rules, "terms") else 5
    return (terms or list(step.subject.terms))[:most]


def _reasoning(step: Step) -> str:
    if "module_names" in step.prompt.values:
        return advising.discuss(step.prompt)
    subject = step.subject
    return f"The request is to {subject.goal}. It turns on {text.in_words(list(subject.terms[:3]))}."


_EXACT: Mapping[str, tuple[str, Answer]] = {
    "new_instruction": (
        "current_instruction previous_instruction",
        lambda s: reflecting.reflect(s.prompt, s.luck),
    ),
    "improved_instruction": (
        "current_instruction previous_instruction",
        lambda s: reflecting.reflect(s.prompt, s.luck),
    ),
    "shortened_instruction": ("instruction", lambda s: reflecting.compress(s.prompt)),
    "proposed_instruction": ("basic_instruction attempted_instructions", _proposing),
    "proposed_prefix_for_output_field": (
        "basic_instruction attempted_instructions",
        lambda s: proposing.prefix(s.prompt),
    ),
    "observations": ("examples", lambda s: proposing.describe_dataset(s.prompt, s.luck)),
    "summary": ("observations", lambda s: proposing.summarize(s.prompt, s.luck)),
    "program_description": ("program_code", lambda s: proposing.describe_program(s.prompt)),
    "module_description": ("program_code", lambda s: proposing.describe_module(s.prompt)),
    "natural_language_rules": ("examples_text", lambda s: proposing.induce(s.prompt, s.luck)),
    "module_advice": ("module_names", lambda s: advising.advise(s.prompt, s.luck)),
    "advice": ("module_names", lambda s: advising.advise(s.prompt, s.luck)),
}
"""Fields of optimizers' own signatures, with the inputs (any of them) by which they are known."""

_BY_NAME: tuple[tuple[re.Pattern[str], Answer], ...] = (
    (re.compile(r"^(?:reasoning|discussion|rationale|thought|next_thought)$"), _reasoning),
    (
        re.compile(r"^(?:taxonomy_)?path$"),
        lambda s: placing.choose_path(s.prompt, s.scene, s.subject, s.rules, s.luck),
    ),
    (
        re.compile(r"^(?:skill_)?(?:name|slug)$"),
        lambda s: placing.choose_name(s.prompt, s.scene, s.subject, s.rules, s.luck),
    ),
    (re.compile(r"^(?:key_?terms|keywords|terms)$"), _key_terms),
    (re.compile(r"^(?:skill_)?description$"), lambda s: planning.describe(s.subject, s.rules, s.luck)),
    (
        re.compile(r"^(?:section_?titles|sections|outline|headings|content_plan)$"),
        lambda s: planning.choose_sections(s.prompt, s.scene, s.rules, s.luck),
    ),
    (re.compile(r"^(?:repaired|revised|corrected|fixed)_\w+$"), lambda s: reviewing.repair(s.prompt, s.luck)),
    (
        re.compile(r"^(?:skill_content|skill_md|skill|document|markdown|content|skill_document)$"),
        lambda s: writing.write_skill(s.prompt, s.scene, s.rules, s.luck),
    ),
)
_ISSUES = re.compile(r"^(?:issues|problems|defects|findings|flaws)$")


def answer_all(prompt: Prompt, luck: Draws) -> dict[str, Any]:
    """A value for every output field."""
    step = Step(prompt, luck, imitation.scene_of(prompt))
    for output in prompt.frame.outputs:
        value = _answer(output, step)
        step.done[output.name] = _fitted(value, output)
    return step.done


def _answer(output: Field, step: Step) -> Any:
    known = _EXACT.get(output.name)
    if known and any(name in step.prompt.values for name in known[0].split()):
        return known[1](step)
    if _ISSUES.match(output.name) and step.prompt.value("skill_content", "draft", "content"):
        return reviewing.find_issues(step.prompt, step.luck)
    if not output.options:
        for pattern, answer in _BY_NAME:
            if pattern.match(output.name) and output.type in _FREE:
                return answer(step)
    return answering.answer(output, answering.Given(step.prompt, step.scene, step.rules, step.luck))


_FREE = {"str", "list[str]", "Union[str, NoneType]", "Union[list[str], NoneType]"}


def _fitted(value: Any, output: Field) -> Any:
    """The value in the type of the field: a list as lines of text, a text as a list."""
    if output.type == "str" and isinstance(value, list):
        return "\n".join(str(item) for item in value)
    if output.type.startswith("list") and isinstance(value, str):
        return list(text.as_list(value))
    return value
