"""A run on small data: one search on all of it, and K searches, each tested on examples that it never saw.

The first search gives the program. It leaves no example to test it on, so the verdict is about how it was
made: the same search, made again without a fold, measured on that fold (see `evaluation.resampled`). All of
it is one run: one journal, one budget, and a resume replays it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.domain.split import Split
from skill_fleet.evaluation.measurement import Measurement, paired
from skill_fleet.evaluation.resampled import HeldOut, compare_resampled
from skill_fleet.evaluation.statistics import Comparison, alpha_for_read
from skill_fleet.foundation.errors import NoSignal
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization.conclusions.foresight import tell_power
from skill_fleet.optimization.ending.publish import Incumbent, decide, keep_candidate, publish
from skill_fleet.optimization.ending.sealed import (
    counted_reading,
    note_choice,
    note_comparison,
    warn_of_nothing,
)
from skill_fleet.optimization.searching.canaries import try_metric
from skill_fleet.optimization.searching.quarantine import without
from skill_fleet.optimization.searching.rounds import Best, search_rounds
from skill_fleet.optimization.searching.stages import Baseline, measure_baseline, measured, require_scores
from skill_fleet.optimization.selection import gains
from skill_fleet.optimization.session import Session


@dataclass(frozen=True)
class Fold:
    """One fold, done.

    Attributes:
        held_out: Scores on its examples.
        validation: Means on its validation set, of the plain program and of the one it chose, on the examples
            scored for both; None where there are none, or where the search could not begin.
        candidates: Among how many programs it chose.
        missing: Ids of its examples that have no score for both.
    """

    held_out: HeldOut
    validation: tuple[float, float] | None
    candidates: int
    missing: frozenset[str]


def run_folds(session: Session, incumbent: Incumbent | None) -> Halt | None:
    """The search on all data, then every fold, then the verdict and what is published.

    Returns:
        What stopped it before its end, if something did.

    Raises:
        ProviderError: Most examples fail.
        MetricError: The metric breaks on an answer.
        NoSignal: The metric says the same of every example.
    """
    baseline = measure_baseline(session)
    tell_power(session, baseline.spread)
    best, pool, halt = search_rounds(session, baseline, Limits())
    note_choice(session, baseline, best, pool)
    keep_candidate(session, best.program)
    if best.from_round == 0 and halt is None:
        # There is nothing to be shown better: the folds would be paid for in vain.
        warn_of_nothing(session)
        publish(session, decide(incumbent, None, None), best.program, baseline.program)
        return None
    done: list[Fold] = []
    if halt is None:
        try_metric(session, baseline, best, Limits())
        halt = _all_folds(session, done)
    _note_folds(session, done)
    if halt is not None:
        if halt.cause == "budget":
            publish(session, decide(incumbent, None, None), best.program, baseline.program)
        return halt
    _conclude(session, baseline, best, incumbent, done)
    return None


def _all_folds(session: Session, done: list[Fold]) -> Halt | None:
    """Every fold in turn; those that were finished are in `done`."""
    for number, split in enumerate(session.plan.folds, start=1):
        try:
            done.append(_fold(session, number, split))
        except Halt as stopped:
            return stopped
    return None


def _fold(session: Session, number: int, split: Split) -> Fold:
    """A search without the fold, measured on the fold.

    Raises:
        Halt: It was stopped.
        ProviderError: Most examples fail.
        MetricError: The metric breaks on an answer.
    """
    about = {"fold": number, "folds": len(session.plan.folds)}
    view = session.view(session.plan.of_fold(split), session.folder.fold(number), about)
    program, validation, candidates = view.plan.entry.build(), None, 0
    chosen = program
    try:
        baseline = measure_baseline(view)
    except NoSignal:
        pass  # nothing can be learnt from this part of the data, and nothing would be published
    else:
        best, pool, halt = search_rounds(view, baseline, Limits())
        if halt is not None:
            raise halt
        chosen, candidates = best.program, pool.number
        validation = _on_validation(view, baseline, best)
    for warning in view.result.warnings:
        session.result.warn(warning["code"], f"Fold {number}: {warning['message']}")
    gate, examples = view.gate(), view.plan.examples("test")
    plain = measured(view, program, examples, gate, "held out")
    same = program_hash(chosen) == program_hash(program)
    found = plain if same else measured(view, chosen, examples, gate, "held out")
    for one in (plain, found):
        require_scores(one)  # left out of the pairs, the metric would choose which examples count
    session.excluded |= view.excluded
    return _done(view, plain, found, validation, candidates)


def _on_validation(view: Session, baseline: Baseline, best: Best) -> tuple[float, float] | None:
    plain, chosen, _ = paired(
        without(baseline.measured, view.excluded), without(best.measured, view.excluded)
    )
    return (_mean(plain), _mean(chosen)) if plain else None


def _done(
    view: Session,
    plain: Measurement,
    found: Measurement,
    validation: tuple[float, float] | None,
    candidates: int,
) -> Fold:
    a, b, groups = paired(plain, found)
    missing = frozenset(one.item_id for one in (*plain.excluded, *found.excluded))
    searched = len(view.plan.split.train) + len(view.plan.split.validation)
    fold = Fold(HeldOut(a, b, groups, searched), validation, candidates, missing)
    view.emit("fold", **_entry(fold))
    return fold


def _entry(fold: Fold) -> dict[str, Any]:
    held_out = fold.held_out
    scored = bool(held_out.a)
    seen = fold.validation
    return {
        "examples": len(held_out.a),
        "groups": len(set(held_out.groups)),
        "baseline": _mean(held_out.a) if scored else None,
        "optimized": _mean(held_out.b) if scored else None,
        "gain": held_out.gain if scored else None,
        "validation_gain": None if seen is None else seen[1] - seen[0],
        "candidates": fold.candidates,
    }


def _note_folds(session: Session, done: Sequence[Fold]) -> None:
    """Put the folds that are done into the result, and means over them once all are."""
    plan, result = session.plan, session.result
    k = plan.request.folds or 0
    scored = [fold.held_out for fold in done if fold.held_out.a]
    result.folds = {
        "k": k,
        "repeats": plan.request.repeats,
        "held_out_gain": None,
        "interval": None,
        "per_fold": [
            {"repeat": 1 + index // k, "fold": 1 + index % k, **_entry(fold)}
            for index, fold in enumerate(done)
        ],
    }
    missing = frozenset[str]().union(*(fold.missing for fold in done))
    session.excluded |= missing
    if missing:
        session.warn(
            "examples_excluded", f"{len(missing)} held-out examples have no score for both programs."
        )
    if len(done) < len(plan.folds) or not scored:
        return
    target = session.loaded.settings.evaluation.thresholds.target
    for name, scores in (
        ("baseline", [score for one in scored for score in one.a]),
        ("optimized", [score for one in scored for score in one.b]),
    ):
        getattr(result, name)["test"] = _mean(scores)
        result.accuracy[name] = sum(score >= target - 1e-9 for score in scores) / len(scores)


def _conclude(
    session: Session, baseline: Baseline, best: Best, incumbent: Incumbent | None, done: Sequence[Fold]
) -> None:
    """The verdict, and what is published for it."""
    result, plan = session.result, session.plan
    reads = result.test_reads = counted_reading(session, best.program)
    scored = [fold.held_out for fold in done if fold.held_out.a]
    found = compare_resampled(scored, repeats=plan.request.repeats, alpha=alpha_for_read(reads))
    note_comparison(session, found)
    result.folds = {**(result.folds or {}), "held_out_gain": found.delta, "interval": list(found.interval)}
    result.selection = _selection(done, found)
    plain = program_hash(baseline.program)
    if incumbent is not None and incumbent.hash != plain:
        if found.verdict == "better" and incumbent.hash != program_hash(best.program):
            session.warn(
                "incumbent_kept",
                "What is published was kept: no example is left on which both programs are new. To publish "
                f"this one: skill-fleet artifacts promote {result.run_id}",
            )
        publish(session, "incumbent", best.program, baseline.program)
        return
    publish(session, decide(None, found, None), best.program, baseline.program)


def _selection(done: Sequence[Fold], found: Comparison) -> dict[str, Any] | None:
    """The gain on the sets chosen by beside that on held-out examples, both means over the folds."""
    seen = [fold.validation for fold in done if fold.validation is not None]
    if not seen:
        return None
    before, after = (_mean([pair[side] for pair in seen]) for side in (0, 1))
    candidates = round(_mean([float(fold.candidates) for fold in done]))
    return gains([before, after], [found.mean_a, found.mean_b], candidates)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
