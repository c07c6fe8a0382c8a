"""The program that writes a skill: understand -> plan -> write -> review, and one repair where needed."""

import json
import re
import unicodedata
from collections.abc import Callable, Generator, Mapping
from typing import Any

import dspy

from skill_fleet.core.dspy.examples import as_text
from skill_fleet.core.dspy.signatures import (
    GenerateSkillContent,
    PlanSkill,
    RepairSkill,
    ReviewSkill,
    UnderstandTask,
)
from skill_fleet.domain.frontmatter_rules import MAX_DESCRIPTION, MAX_NAME
from skill_fleet.domain.markdown import outer_fence_stripped
from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check
from skill_fleet.domain.taxonomy import MAX_DEPTH, MAX_PART
from skill_fleet.foundation.errors import DataError, SkillFleetError

OnStep = Callable[[str, dict[str, Any]], Mapping[str, Any] | None]
_Flow = Generator[tuple[str, dict[str, Any]], dict[str, Any], dspy.Prediction]
# A frontmatter that begins below the first line, and the code fence it stands in, if it does.
_LATE_START = re.compile(
    r"(?:^(`{3,}|~{3,})[^\n`]*\n\s*)?^---[ \t]*\n(?=(?:name|description)[ \t]*:)", re.MULTILINE
)
_MAX_PREAMBLE_LINES = 5


class CreationStopped(SkillFleetError):
    """The person in the loop stopped the creation of a skill."""

    code = "stopped_by_user"


class SkillCreationProgram(dspy.Module):
    """Writes a SKILL.md for a task.

    Inputs: `task_description`, `user_context`, `taxonomy_structure`, `existing_skills`; the last three as
    JSON text or as JSON values.

    Prediction: `taxonomy_path`, `name`, `description` (texts), `sections` (planned titles), `skill_content`
    (the whole SKILL.md), `issues` (what the review found before the repair).

    Args:
        on_step: A person in the loop. Called after each step with its name (`understand`, `plan`, `write`,
            `review`, `repair`) and its outputs; returns None to go on, or outputs to put in their place;
            raises `CreationStopped` to end. It is not part of the saved state.
    """

    def __init__(self, on_step: OnStep | None = None) -> None:
        super().__init__()
        self.understand = dspy.Predict(UnderstandTask)
        self.plan = dspy.ChainOfThought(PlanSkill)
        self.write = dspy.Predict(GenerateSkillContent)
        self.review = dspy.Predict(ReviewSkill)
        self.repair = dspy.Predict(RepairSkill)
        self.on_step = on_step

    def forward(
        self,
        task_description: str,
        user_context: Any = "{}",
        taxonomy_structure: Any = "{}",
        existing_skills: Any = "[]",
    ) -> dspy.Prediction:
        """Write one skill.

        Raises:
            CreationStopped: The callback said so.
        """
        flow = self._flow(task_description, user_context, taxonomy_structure, existing_skills)
        step, inputs = next(flow)
        while True:
            outputs = self._consulted(step, getattr(self, step)(**inputs))
            try:
                step, inputs = flow.send(outputs)
            except StopIteration as done:
                return done.value

    async def aforward(
        self,
        task_description: str,
        user_context: Any = "{}",
        taxonomy_structure: Any = "{}",
        existing_skills: Any = "[]",
    ) -> dspy.Prediction:
        """Write one skill, awaited: the same steps as `forward`."""
        flow = self._flow(task_description, user_context, taxonomy_structure, existing_skills)
        step, inputs = next(flow)
        while True:
            outputs = self._consulted(step, await getattr(self, step).acall(**inputs))
            try:
                step, inputs = flow.send(outputs)
            except StopIteration as done:
                return done.value

    def _consulted(self, step: str, prediction: dspy.Prediction) -> dict[str, Any]:
        outputs = dict(prediction.items())
        if self.on_step is None:
            return outputs
        amended = self.on_step(step, dict(outputs))
        return outputs if amended is None else {**outputs, **amended}

    def _flow(self, task: str, context: Any, taxonomy: Any, existing: Any) -> _Flow:
        """The steps as one generator: it yields a step and its inputs, and is sent the step's outputs."""
        placed = yield (
            "understand",
            {
                "task_description": task,
                "user_context": as_text(context),
                "taxonomy_structure": as_text(taxonomy),
                "existing_skills": as_text(existing),
            },
        )
        path = _clean_path(_text(placed.get("taxonomy_path")))
        names = (_text(placed.get("skill_name")), path.rpartition("/")[2], task)
        name = slug(next((text for text in names if _words(text)), ""))
        terms = _texts(placed.get("key_terms"))
        planned = yield (
            "plan",
            {"task_description": task, "taxonomy_path": path, "skill_name": name, "key_terms": terms},
        )
        description = _described(_text(planned.get("description")), task)
        titles = (title.lstrip("# ").strip() for title in _texts(planned.get("sections")))
        sections = [title for title in titles if title]
        metadata = {"name": name, "description": description, "taxonomy_path": path}
        outline = "\n".join(sections)
        written = yield (
            "write",
            {
                "skill_metadata": json.dumps(metadata, ensure_ascii=False),
                "content_plan": outline,
                "generation_instructions": f"Task: {task}\nSpeak about: {', '.join(terms)}",
            },
        )
        content = tidy(_text(written.get("skill_content")), name, description)
        reviewed = yield (
            "review",
            {"task_description": task, "content_plan": outline, "skill_content": content},
        )
        issues = _texts(reviewed.get("issues"))
        findings = specification_errors(content) + issues
        if findings:
            repaired = yield (
                "repair",
                {"skill_content": content, "findings": findings, "content_plan": outline},
            )
            content = _better_of(content, tidy(_text(repaired.get("repaired_content")), name, description))
        return dspy.Prediction(
            taxonomy_path=path,
            name=name,
            description=description,
            sections=sections,
            skill_content=content,
            issues=issues,
        )


def specification_errors(content: str) -> list[str]:
    """What the specification refuses in a SKILL.md's text, a sentence each."""
    findings = check(Skill.parse(content), "spec")
    return [f"{f.message} {f.hint}".strip() for f in findings if f.severity == "error"]


def tidy(content: str, name: str, description: str) -> str:
    """What needs no model to be right: no word before it, no outer code fence, the planned name.

    Args:
        content: What the model wrote. A NUL or half a surrogate pair, which no file can hold, is left out.
        name: The planned name; it stands in the frontmatter whatever the model wrote there.
        description: Used where the text has none.
    """
    text = _without_preamble(outer_fence_stripped(_text(content))).strip() + "\n"
    skill = Skill.parse(text)
    if not skill.fields:
        return _composed(name, description, text)
    try:
        if skill.name != name:
            skill = skill.with_field("name", name)
        if not (skill.description or "").strip():
            skill = skill.with_field("description", description)
    except DataError:  # a frontmatter that cannot be edited by line, for example in { }
        return _composed(name, (skill.description or "").strip() or description, skill.body)
    return skill.render().decode()


def slug(text: str) -> str:
    """A valid skill name from any text: lower-case words and single hyphens, at most 64 characters."""
    words = _words(text)
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word
        if len(longer) > MAX_NAME:
            break
        name = longer
    return name or (words[0][:MAX_NAME] if words else "skill")


def _composed(name: str, description: str, body: str) -> str:
    return Skill.compose({"name": name, "description": description}, body).render().decode()


def _without_preamble(text: str) -> str:
    """The text from its frontmatter on, where a model greets first; a fence around it goes with the words."""
    start = _LATE_START.search(text)
    if start is None or start.start() == 0:
        return text
    before = [line for line in text[: start.start()].splitlines() if line.strip()]
    if len(before) > _MAX_PREAMBLE_LINES or any(line.startswith(("#", "---")) for line in before):
        return text
    rest = text[start.start() :]
    if start[1] is None:
        return rest
    inside = rest.partition("\n")[2]
    fences = re.findall(rf"^{start[1]}", inside, re.MULTILINE)  # in pairs: of the text; one more: its own
    return inside.rpartition(f"\n{start[1]}")[0] if len(fences) % 2 else inside


def _better_of(draft: str, mended: str) -> str:
    """The repaired text, unless the repair lost the body or made it less valid."""
    if not Skill.parse(mended).body.strip():
        return draft
    return mended if len(specification_errors(mended)) <= len(specification_errors(draft)) else draft


def _described(planned: str, task: str) -> str:
    return (_one_line(planned) or _one_line(_text(task)))[:MAX_DESCRIPTION].strip()


def _words(text: str) -> list[str]:
    """The words of a text in lower-case ASCII, accents taken off."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.findall(r"[a-z0-9]+", plain.lower())


def _clean_path(text: str) -> str:
    """Folders as the taxonomy allows them: whatever climbs, is absolute or too long is cut away."""
    parts = ["_".join(_words(part)) for part in text.split("/")]
    return "/".join([part[:MAX_PART].strip("_") for part in parts if part][:MAX_DEPTH])


def _text(value: Any) -> str:
    """A value as text that a file can hold: without NUL and halves of surrogate pairs."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else _text(value).splitlines()
    return [_text(item).strip() for item in values if _text(item).strip()]
