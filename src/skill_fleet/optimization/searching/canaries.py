"""Whether the metric of a run pays for answers that say nothing: tried when the search is over.

The best program's answers to a few validation examples come from the journal: its model is asked nothing. A
metric that asks a model asks it at most twice an example, within the run's caps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.evaluation.canaries import Kind, canary, kinds_for, paid_for
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.searching.rounds import Best, replay_gate
from skill_fleet.optimization.searching.stages import SPARING, Baseline
from skill_fleet.optimization.session import Session
from skill_fleet.optimization.spending import CANARY_EXAMPLES, CANARY_FEWEST

_KINDS: tuple[Kind, ...] = ("instructions", "shuffled")
_SAID: Mapping[Kind, str] = {
    "shuffled": "the program's answers with their words in another order",
    "instructions": "answers made of nothing but the words of the program's instructions",
}


@dataclass(frozen=True)
class _Answer:
    """An answer of the best program, and its score."""

    example: dspy.Example
    pred: Any
    score: float


def try_metric(session: Session, baseline: Baseline, best: Best, hold: Limits) -> None:
    """Warn (`metric_gamed`) of a metric that gives canaries about what it gives the program's answers.

    Args:
        session: The run.
        baseline: Where the examples are.
        best: What the search ended in; a program that was not optimized is not tried.
        hold: What the sealed test was promised.
    """
    if best.from_round == 0:
        return
    answers = _answers(session, baseline, best)
    for kind in _KINDS:
        apt = [answer for answer in answers if kind in kinds_for(answer.pred)]
        found = _scored(session, best, apt, kind, hold) if len(apt) >= CANARY_FEWEST else None
        if found is None:
            continue
        own = sum(answer.score for answer in apt) / len(apt)
        if paid_for(own, found):
            session.warn(
                "metric_gamed",
                f"The metric gives {_SAID[kind]} {found:.2f}, and the answers themselves {own:.2f}: what was "
                "optimized may not be what is wanted. Read the instructions.",
            )


def _answers(session: Session, baseline: Baseline, best: Best) -> list[_Answer]:
    """What the best program answers to the first examples that it answered and that have a score."""
    answered = {one.item_id: one.score for one in best.measured.outcomes if one.usage is not None}
    lm = session.lms(replay_gate(session), "raise")["evaluation"]
    found: list[_Answer] = []
    for example in baseline.validation:
        score = answered.get(str(identity_of(example)[0]))
        if score is None or len(found) >= CANARY_EXAMPLES:
            continue
        try:
            with dspy.context(lm=lm, **SPARING):
                found.append(_Answer(example, best.program(**example.inputs()), score.value))
        except Halt:
            break  # an answer is not in the journal
        except Exception:  # noqa: BLE001, S112 - the program is the user's code: what it does once more is its own
            continue
    return found


def _scored(session: Session, best: Best, answers: list[_Answer], kind: Kind, hold: Limits) -> float | None:
    """The mean score of the canaries of these answers; None where the metric refuses one or may not ask."""
    instructions = " ".join(one.signature.instructions for one in best.program.predictors())
    metric = Judged(session.plan.metric, session.lms(session.gate(hold), "raise")["judge"])
    total = 0.0
    try:
        for answer in answers:
            dud = canary(kind, answer.pred, instructions, session.plan.request.seed)
            total += metric.score(answer.example, dud).value
    except (SkillFleetError, Halt):
        return None
    return total / len(answers)
