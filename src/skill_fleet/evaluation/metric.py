"""The quality of a written skill: agreement with the gold example, and the guard of its text; three faces."""

from collections.abc import Mapping
from typing import Any

import dspy

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check
from skill_fleet.evaluation import guard as guards
from skill_fleet.evaluation.agreement import agreement, plan_note, written_note
from skill_fleet.evaluation.expected import NONE, Conventions, expected_of
from skill_fleet.evaluation.guard import guard
from skill_fleet.evaluation.score import Score

TEXT = ("written", "terms", "grounding", "substance", "coherence", "integrity", "cost")
CONCERNS: Mapping[str, tuple[str, ...]] = {
    "understand": ("path", "name", "key_terms"),
    "plan": ("plan", "trigger"),
    "write": TEXT,
    "repair": TEXT,
    "review": ("review",),
}
"""Which words are meant for which predictor, by the first part of its name; others get all of them."""

_CHECKS = {
    "written": "Check that every planned section is written and holds something.",
    "grounding": "Check that the text keeps every promise of the description.",
    "terms": "Check that the text speaks of every term of the task.",
    "substance": "Check that every section names concrete steps, commands or decisions.",
    "coherence": "Check that every heading has whole sentences under it.",
    "integrity": "Check that frontmatter, fences and placeholders are in order.",
}
_AS_KEY_TERMS = "List every term of the task as a key term;"
_NOTHING = "Nothing has to change at this step."
_ERROR_COSTS = 0.1
_WARNING_COSTS = 0.02


class SkillQuality:
    """The `Metric` of the built-in program: where the skill is put, how it is named, divided and written.

    Args:
        path: Weight of the taxonomy path.
        name: Weight of the name.
        sections: Weight of the expected sections.
        guard: Weight of the guard.
        conventions: `conventions_of` the training examples: for which folders feedback states which rule.
            They change words, no score.

    Weights count in proportion; a part of which the gold example says nothing has none.
    """

    def __init__(
        self,
        *,
        path: float = 0.10,
        name: float = 0.10,
        sections: float = 0.35,
        guard: float = 0.45,
        conventions: Conventions = NONE,
    ) -> None:
        self.weights = {"path": path, "name": name, "sections": sections, "guard": guard}
        self.conventions = dict(conventions)

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing has override from 3.12 on
        inside = ", ".join(f"{part}={weight!r}" for part, weight in self.weights.items())
        return f"SkillQuality({inside}, conventions={self.conventions!r})"

    @property
    def name(self) -> str:
        """How reports call it."""
        return "skill_quality"

    def score(self, gold: Any, pred: Any) -> Score:
        """The score of a prediction; a strange prediction has a low one, and the feedback says why.

        `by_part` has more keys than `parts`: `plan` and `written` (what planning and writing should have done
        about sections), `terms` and `key_terms` (what of the task is not spoken of), `review` (what the
        review should have seen).
        """
        content = _text(pred, "skill_content")
        if not content.strip():
            words = "Write the whole text of the skill: the prediction has none."
            return Score(0.0, dict.fromkeys(self.weights, 0.0), words, dict.fromkeys(TEXT, words))
        skill = Skill.parse(content)
        expected = expected_of(gold, self.conventions)
        path, name = _text(pred, "taxonomy_path"), _text(pred, "name") or skill.name or ""
        agreed = agreement(gold, taxonomy_path=path, name=name, content=content, conventions=self.conventions)
        guarded = guard(skill, expected.task)
        parts = {**agreed.parts, "guard": guarded.value}
        weights = {part: self.weights[part] for part in parts}
        total = sum(weights.values())
        value = sum(weights[part] * parts[part] for part in parts) / total if total else 0.0
        by_part = {**agreed.by_part, **guarded.by_part}
        if expected.sections is not None:
            planned = _titles(pred)
            by_part["plan"] = plan_note(expected, planned)
            by_part["written"] = written_note(expected, planned, content)
        by_part = _attributed({part: words for part, words in by_part.items() if words})
        losses = _losses(weights, {**parts, **guarded.parts})
        order = sorted(
            set(by_part) - {"written", "review", "key_terms"}, key=lambda part: (-losses.get(part, 0.0), part)
        )
        feedback = " ".join(dict.fromkeys(by_part[part] for part in order))
        return Score(min(1.0, value), {**parts, **guarded.parts}, feedback, by_part)

    def metric(
        self, gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
    ) -> Any:
        """DSPy's metric: a float in [0, 1], or for a named predictor what `feedback` returns."""
        if pred_name is not None:
            return self.feedback(gold, pred, trace, pred_name, pred_trace)
        return self.score(gold, pred).value

    def feedback(
        self,
        gold: Any,
        pred: Any,
        trace: Any,  # noqa: ARG002 - GEPA passes it
        pred_name: str | None,
        pred_trace: Any,  # noqa: ARG002 - GEPA passes it
    ) -> Any:
        """GEPA's metric: the score, and of its words those that the named predictor can act upon."""
        score = self.score(gold, pred)
        concerns = CONCERNS.get((pred_name or "").split(".")[0])
        words = score.feedback
        if concerns is not None:
            words = " ".join(dict.fromkeys(score.by_part[part] for part in concerns if part in score.by_part))
        return dspy.Prediction(score=score.value, feedback=words or _NOTHING)

    def reward(self, args: Mapping[str, Any], pred: Any) -> float:
        """`BestOfN`'s reward, without a gold example: the guard, less 0.1 an error and 0.02 a warning."""
        content = _text(pred, "skill_content")
        if not content.strip():
            return 0.0
        skill = Skill.parse(content)
        task = args.get("task_description")
        found = [finding.severity for finding in check(skill)]
        less = _ERROR_COSTS * found.count("error") + _WARNING_COSTS * found.count("warning")
        return max(0.0, guard(skill, task if isinstance(task, str) else "").value - less)


def _attributed(by_part: dict[str, str]) -> dict[str, str]:
    """The same words, and what they mean for the steps before and after writing."""
    found = dict(by_part)
    if "terms" in by_part:
        found["key_terms"] = by_part["terms"].replace(
            guards.TERMS_IN_TEXT, "List every term of the task as a key term;"
        )
    checks = [_CHECKS[part] for part in TEXT if part in by_part and part in _CHECKS]
    if checks:
        found["review"] = " ".join(checks)
    return found


def _losses(weights: Mapping[str, float], parts: Mapping[str, float]) -> dict[str, float]:
    """How much of the score each part costs: what to say first."""
    losses = {part: weight * (1.0 - parts[part]) for part, weight in weights.items()}
    losses |= {part: weights["guard"] * w * (1.0 - parts[part]) for part, w in guards.WEIGHTS.items()}
    return {**losses, "plan": losses.get("sections", 0.0), "terms": losses["grounding"]}


def _text(pred: Any, field: str) -> str:
    value = pred.get(field) if isinstance(pred, Mapping | dspy.Example) else getattr(pred, field, None)
    return value if isinstance(value, str) else ""


def _titles(pred: Any) -> list[str]:
    value = (
        pred.get("sections") if isinstance(pred, Mapping | dspy.Example) else getattr(pred, "sections", None)
    )
    return [title for title in value if isinstance(title, str)] if isinstance(value, list | tuple) else []
