"""The rounds of a search: each starts from the best program so far, until one gains nothing."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dspy

from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.core.programs.recipes.recipe import Recipe, instructions_of
from skill_fleet.evaluation.measurement import Measurement, is_better
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.searching.one_search import Searched, search_once
from skill_fleet.optimization.searching.quarantine import remaining, set_aside, without
from skill_fleet.optimization.searching.round_bills import WITHHELD, begin_round, bill_of_round
from skill_fleet.optimization.searching.stages import Baseline, measured, require_scores
from skill_fleet.optimization.searching.withheld import RoundProposals, nothing_proposed
from skill_fleet.optimization.selection import Candidate, cheapest_of_equals, prices_of
from skill_fleet.optimization.session import Session

_MOST_CANDIDATES = 24
_logger = logging.getLogger("dspy")


@dataclass(frozen=True)
class Best:
    """The best program so far and its measurement on the validation set."""

    program: dspy.Module
    measured: Measurement
    from_round: int


@dataclass
class Pool:
    """All that a search chose among, as it grows.

    Attributes:
        candidates: Measured on the validation set, the plain program first.
        known: Hashes of all programs that had a pass over the whole validation set, also of those that are
            not among the candidates.
    """

    candidates: list[Candidate]
    known: set[str]

    @property
    def number(self) -> int:
        """Among how many programs was chosen, the plain one not counted."""
        return len(self.known) - 1


def search_rounds(session: Session, baseline: Baseline, hold: Limits) -> tuple[Best, Pool, Halt | None]:
    """Round after round from the best so far, until one gains nothing.

    Args:
        session: The run.
        baseline: Where to start.
        hold: What the sealed test was promised.

    Returns:
        The best program, or the cheapest of equally good ones where that was asked for; what it was chosen
        among; and why the search was stopped before its end, if it was.
    """
    plain = program_hash(baseline.program)
    pool = Pool([Candidate(baseline.program, plain, 0, baseline.measured)], {plain})
    best, halt = Best(baseline.program, baseline.measured, 0), None
    proposals: list[RoundProposals] = []
    for number in range(1, session.plan.request.rounds + 1):
        started = session.clock.monotonic()
        begin_round(session, number)
        session.progress(stage="search", round=number, rollouts=0)
        baseline, best, searched = _searched(session, baseline, best, number, hold)
        proposals.append(searched.proposals)
        candidate, halt = searched.program, searched.proposals.told(searched.halt)
        found, halt = _measured_candidate(_cut(session, halt), baseline, candidate, halt, hold)
        gained = found is not None and is_better(best.measured, found)
        if candidate is not None and found is not None and gained:
            best = Best(candidate, found, number)
        before = pool.number
        programs = [(candidate, found), *((one, None) for one in searched.seen)]
        _add_candidates(_cut(session, halt), baseline, pool, number, programs)
        seconds = session.clock.monotonic() - started
        _note_round(session, number, found, best, seconds, pool.number - before, searched, halt)
        # A recipe is the end: the next round would have to start from an ordinary program.
        if halt is not None or not (gained or searched.cut) or isinstance(best.program, Recipe):
            break
    if halt is None and best.from_round == 0:
        halt = nothing_proposed(session, proposals)
    pool.candidates = [
        replace(one, measured=without(one.measured, session.excluded)) for one in pool.candidates
    ]
    return _chosen(session, best, pool), pool, halt


def _searched(
    session: Session, baseline: Baseline, best: Best, number: int, hold: Limits
) -> tuple[Baseline, Best, Searched]:
    """A round's search, begun again for each example that is set aside in it, and what it then had."""
    while True:
        baseline, best = _left(session, baseline, best, number)
        searched = search_once(session, baseline, best.program, number, hold)
        if not set_aside(session, baseline, number, searched.halt):
            return baseline, best, searched


def _left(session: Session, baseline: Baseline, best: Best, number: int) -> tuple[Baseline, Best]:
    """A round's examples without those that failed for good, and the best so far measured on the rest."""
    left = remaining(session, baseline, number)
    return left, replace(best, measured=without(best.measured, session.excluded))


def _cut(session: Session, halt: Halt | None) -> Session:
    """The run as it tells its progress once something has stopped it: what follows is not the way on."""
    return session if halt is None else replace(session, about={**session.about, "stopped": halt.cause})


def _add_candidates(
    session: Session,
    baseline: Baseline,
    pool: Pool,
    number: int,
    programs: Sequence[tuple[dspy.Module | None, Measurement | None]],
) -> None:
    """What a round measured on the whole validation set, by what the journal holds: no call is made."""
    gate = replay_gate(session)
    for program, known in programs:
        name = None if program is None else program_hash(program)
        if program is None or name is None or name in pool.known:
            continue
        pool.known.add(name)
        if len(pool.candidates) > _MOST_CANDIDATES * number:
            continue
        try:
            found = known or measured(session, program, baseline.validation, gate, "candidates")
        except (Halt, SkillFleetError):
            continue  # an answer is not in the journal: what the program takes is not known
        pool.candidates.append(Candidate(program, name, number, found))


def _chosen(session: Session, best: Best, pool: Pool) -> Best:
    """The best program, or the cheapest of those about as good."""
    if session.plan.request.prefer != "cheaper" or best.from_round == 0:
        return best
    highest = Candidate(best.program, program_hash(best.program), best.from_round, best.measured)
    chosen = cheapest_of_equals(highest, pool.candidates, prices_of(session.plan.models))
    return Best(chosen.program, chosen.measured, chosen.round)


def _measured_candidate(
    session: Session, baseline: Baseline, candidate: dspy.Module | None, halt: Halt | None, hold: Limits
) -> tuple[Measurement | None, Halt | None]:
    """The candidate on the validation set; after a halt from what is journaled already, if that suffices."""
    if candidate is None:
        return None, halt
    gate = session.gate(hold) if halt is None else replay_gate(session)
    try:
        found = measured(session, candidate, baseline.validation, gate, "validation")
    except Halt as stopped:
        return None, halt or stopped
    require_scores(found)  # a reward that broke looked like a bad answer to the optimizer
    return found, halt


def replay_gate(session: Session) -> Gate:
    """A door that lets no paid call through: only journaled answers can be read."""
    spent_all = replace(session.account.limits, calls=0)
    gate = Gate(session.account)
    gate.ceiling = spent_all
    return gate


def _note_round(
    session: Session,
    number: int,
    found: Measurement | None,
    best: Best,
    seconds: float,
    candidates: int,
    searched: Searched,
    halt: Halt | None,
) -> None:
    instructions = instructions_of(best.program)
    bill, spent = bill_of_round(session, number)
    line = {
        "round": number,
        "score": None if found is None else found.mean,
        "best": best.measured.mean,
        "candidates": candidates,
        "seconds": round(seconds, 3),
        "calls": bill.calls,
        "usd": None if bill.unknown else bill.usd,
        "withheld": len(searched.proposals.withheld),
        "stopped": halt.cause if halt is not None else WITHHELD if searched.cut else None,
        "instructions": instructions,
    }
    session.result.rounds.append(line)
    score = "none" if line["score"] is None else f"{line['score']:.3f}"
    _logger.info("Round %d: score=%s", number, score)
    _logger.info("Best instructions: %s", instructions)
    told = {key: value for key, value in line.items() if key != "instructions"}
    session.emit("round", **told, spent=spent.to_json())
    if halt is None:
        searched.proposals.warn(cut=searched.cut)
    limit = session.loaded.settings.evaluation.targets.round_minutes
    if seconds > limit * 60:
        session.warn("slow_round", f"Round {number} took {seconds / 60:.1f} min; the target is {limit:g}.")
