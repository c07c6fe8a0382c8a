"""One search of a round: the optimizer at work, whatever ends it."""

from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.recipes.rebuild import with_state
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.foundation.errors import ProgramError, SkillFleetError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.proposals import withheld_in
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.attribution import Attribution
from skill_fleet.optimization.door import Doorkeeper
from skill_fleet.optimization.estimates.estimate import effort_of
from skill_fleet.optimization.own_failures import OwnFailures
from skill_fleet.optimization.search import Search, Tracker, focused, unfocused
from skill_fleet.optimization.searching.stages import SPARING, Baseline
from skill_fleet.optimization.searching.withheld import RoundProposals
from skill_fleet.optimization.session import Session, quiet, throttled


@dataclass(frozen=True)
class Searched:
    """What one search of a round came to.

    Attributes:
        program: Where it ended, or the best it had measured; None where there is none.
        seen: All programs it measured on the whole validation set, the best first.
        halt: What stopped the run in it, if anything did.
        cut: Whether it ended in the middle, at a proposal that was withheld.
        proposals: What it had to do without.
    """

    program: dspy.Module | None
    seen: list[dspy.Module]
    halt: Halt | None
    cut: bool
    proposals: RoundProposals


def search_once(
    session: Session, baseline: Baseline, start: dspy.Module, number: int, hold: Limits
) -> Searched:
    """Search once.

    Args:
        session: The run.
        baseline: Where the examples are.
        start: The program to improve.
        number: Of the round.
        hold: What the sealed test was promised.

    Raises:
        ProgramError: The optimizer failed.
    """
    plan = session.plan
    gate = session.gate(hold)
    proposals = RoundProposals(session, baseline, number)
    lms = session.lms(gate, "halt", proposals.proposals)
    tracker = Tracker([identity_of(example)[0] for example in baseline.validation])
    attribution = Attribution([*baseline.train, *baseline.validation])
    rollouts = [0]
    show = throttled(lambda: session.progress(stage="search", round=number, rollouts=rollouts[0]))

    def on_rollout() -> None:
        rollouts[0] += 1
        show()

    halt: Halt | None = None
    cut = False
    found: dspy.Module | None = None
    with focused(start, plan.request.modules) as student:
        search = Search(
            student,
            baseline.train,
            baseline.validation,
            Judged(plan.metric, lms["judge"]),
            lms,
            effort_of(plan),
            plan.request.seed + 1000 * (number - 1),
            baseline.demo_threshold,
            on_rollout,
            plan.reward,
        )
        callbacks = [tracker, Doorkeeper(gate), OwnFailures(gate), attribution]
        settings = {"lm": lms["evaluation"], "callbacks": callbacks, **SPARING}
        try:
            with quiet(session.folder), dspy.context(**settings, max_errors=10**9):
                found = plan.optimizer.improve(search)
        except Halt as stopped:
            halt = gate.close(stopped)
        except SkillFleetError:
            raise
        except Exception as error:
            # With the gate closed, whatever an optimizer raises is the echo of the Halt it swallowed.
            cut = gate.closed is None and withheld_in(error) is not None
            if gate.closed is None and not cut:
                raise ProgramError(
                    f"The optimizer {plan.optimizer.info.name} failed: {type(error).__name__}: {error}.",
                    hint=f"Its own words are in {session.folder.optimizer_log}.",
                ) from error
            halt = gate.closed
        session.drain()
        halt = halt or gate.closed
        # Without what optimizers hang on a program: each candidate of the round, copied with every copy.
        seen = [_rebuilt(student, state, type(start)) for state in tracker.seen()]
        if found is not None:
            found = _rebuilt(student, clean_state(found), type(start))
    return Searched(found or next(iter(seen), None), seen, halt, cut and halt is None, proposals)


def _rebuilt(student: dspy.Module, state: dict[str, Any], original: type) -> dspy.Module:
    return unfocused(with_state(student, state), original)
