"""The sealed test of a run: what is kept back for it, its measurements, and what is concluded from them."""

import math

import dspy

from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.core.programs.recipes.recipe import runs_per_answer
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.runner import too_many_failed
from skill_fleet.evaluation.statistics import Comparison
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.optimization.conclusions.verdict import digest_of_test, judge, scored_for_all
from skill_fleet.optimization.ending.publish import Incumbent
from skill_fleet.optimization.estimates.estimate import effort_of
from skill_fleet.optimization.optimizer import CostlyAnswers
from skill_fleet.optimization.planning.plan import Plan
from skill_fleet.optimization.searching.quarantine import without
from skill_fleet.optimization.searching.rounds import Best, Pool
from skill_fleet.optimization.searching.stages import Baseline, measured, require_scores
from skill_fleet.optimization.selection import cost_of, gains, points, prices_of
from skill_fleet.optimization.session import Session

_UNITS = {
    "usd": "${:,.4g}",
    "calls": "{:,.0f} calls",
    "tokens": "{:,.0f} tokens",
    "minutes": "{:,.1f} minutes",
}


def held_for_test(session: Session, baseline: Baseline, incumbent: Incumbent | None) -> Limits:
    """What the search must leave for the sealed test: its calls at what a run of the program takes.

    Where that is half a cap or more nothing is held: a search without room is no search. A resumed run holds
    what its first process held, unless a cap was changed.
    """
    limits = session.account.limits
    programs = 1 + _runs_of_result(session.plan)
    programs += 0 if incumbent is None else runs_per_answer(incumbent.program)
    runs = programs * len(session.plan.split.test)
    pace = baseline.pace
    calls = math.ceil(runs * pace.calls_per_run * 1.1)
    tokens = math.ceil(calls * 1.3 * pace.tokens_per_call)
    usd = calls * 1.3 * pace.usd_per_call
    minutes = calls * 1.1 * pace.minutes_per_call
    held = Limits(usd=usd, calls=calls, tokens=tokens, minutes=minutes)
    kept: dict[str, float | int | None] = {}
    for name in ("usd", "calls", "tokens", "minutes"):
        cap, need = getattr(limits, name), getattr(held, name)
        if cap is not None and need > 0 and need * 2 >= cap:
            wanted, whole = (_UNITS[name].format(value) for value in (need, cap))
            session.warn(
                "test_not_reserved",
                f"Nothing is set aside for the sealed test: it needs about {wanted}, half of the cap of "
                f"{whole} or more, which is too much to hold back from the search. The search may use up "
                "what the test needs; then there is no verdict before the cap is raised.",
            )
        kept[name] = need if cap is not None and need * 2 < cap else None
    return Limits(**kept)  # type: ignore[arg-type]


def _runs_of_result(plan: Plan) -> float:
    """Runs of the program that one answer of the optimizer's result takes, most."""
    found = plan.optimizer
    return found.runs_per_answer(effort_of(plan)).most if isinstance(found, CostlyAnswers) else 1


def sealed_test(
    session: Session, baseline: Baseline, best: Best, incumbent: Incumbent | None
) -> tuple[Comparison | None, Comparison | None]:
    """Baseline, candidate and incumbent on the sealed test.

    What is reported of baseline and candidate is of the examples that have a score for both. Otherwise what a
    filter withholds from one of them would lower or raise its mean.

    Returns:
        The candidate against the baseline and against the incumbent; None where there is nothing to compare.

    Raises:
        Halt: A cap is reached, or no call can succeed.
        ProviderError: Most examples fail, or each for one of the programs.
        MetricError: The metric breaks on an answer: left out, it would choose which examples count.
    """
    plan, result = session.plan, session.result
    examples = plan.examples("test")
    gate = session.gate()

    def on_test(program: dspy.Module) -> Measurement:
        found = measured(session, program, examples, gate, "sealed test")
        require_scores(found)
        session.excluded |= {outcome.item_id for outcome in found.excluded}
        return found

    plain = on_test(baseline.program)
    _warn_of_missing(session, "baseline", plain)
    _note_test(session, "baseline", plain)
    against_baseline = against_incumbent = None
    if best.from_round > 0:
        found = on_test(best.program)
        _require_pairs(plain, found)
        # Counted before anybody sees it: where that fails, a test could be read without end.
        reads = result.test_reads = counted_reading(session, best.program)
        _warn_of_missing(session, "optimized", found)
        _note_both(session, plain, found)
        against_baseline = judge(plain, found, reads=reads, seed=plan.request.seed)
        note_comparison(session, against_baseline)
        if incumbent is not None:
            old = on_test(incumbent.program)
            _require_pairs(old, found)
            against_incumbent = judge(old, found, reads=reads, seed=plan.request.seed)
            session.emit(
                "incumbent", test=scored_for_all([old, found])[0].mean, verdict=against_incumbent.verdict
            )
    else:
        _note_test(session, "optimized", plain)
    return against_baseline, against_incumbent


def _require_pairs(*found: Measurement) -> None:
    """Something must have a score for both programs: else the run waits until the model answers."""
    failed = {
        one.item_id: one.no_score for each in found for one in each.excluded if one.no_score is not None
    }
    total = len(found[0].outcomes)
    if failed and len(failed) == total:
        raise too_many_failed(list(failed.values()), total, total, "test examples")


def warn_of_nothing(session: Session) -> None:
    """Say that the search ended where it began."""
    session.warn(
        "no_accepted_proposal",
        "The optimizer found nothing better on the validation set: often the metric or its feedback says "
        "too little.",
    )


def note_choice(session: Session, baseline: Baseline, best: Best, pool: Pool) -> None:
    """Put what the search chose, and among what, into the result; means are of what has a score for both."""
    result, prices = session.result, prices_of(session.plan.models)
    result.instructions = {name: p.signature.instructions for name, p in best.program.named_predictors()}
    plain = without(baseline.measured, session.excluded)
    chosen = without(best.measured, session.excluded)
    for name, found in zip(("baseline", "optimized"), scored_for_all([plain, chosen]), strict=True):
        getattr(result, name)["validation"] = found.mean
        cost = cost_of(found, prices)
        result.cost_per_answer[name] = None if cost is None else cost.to_json()
    result.pareto = points(pool.candidates, program_hash(best.program), prices)
    note_selection(session, pool)


def note_selection(session: Session, pool: Pool) -> None:
    """Put the gain on the validation set beside that on the sealed test, as far as they are known."""
    result = session.result
    validation, test = ([result.baseline[part], result.optimized[part]] for part in ("validation", "test"))
    result.selection = gains(validation, test, pool.number)


def counted_reading(session: Session, candidate: dspy.Module) -> int:
    """The how-manieth program this is that is compared on this test set, warned of from the second on.

    The same settings ending in the same program read nothing new. A run that was stopped, tested and gone on
    with may end in another program, and that reads the test again.

    Raises:
        Halt: The run is not this process's any more, or nobody can say so: what it read, nobody will see. Or
            the readings cannot be read or written: the search was paid for, and the run can be gone on with.
    """
    plan = session.plan
    test = digest_of_test(plan.tested)
    reader = digest([dict(plan.identity), program_hash(candidate)])
    reads = _counted(session, test, reader)
    if reads > 1:
        before = "once" if reads == 2 else f"{reads - 1} times"
        asked = plan.request
        dealt = not (plan.folds or asked.test_data or asked.holdout)
        what = "These examples were" if plan.folds else "This test set was"
        way = "another --seed, or new examples" if dealt else "new examples; another --seed changes nothing"
        session.warn(
            "test_reused", f"{what} read {before} before, so more is asked of a difference. To renew: {way}."
        )
    return reads


def _counted(session: Session, test: str, reader: str) -> int:
    try:
        session.may_write()
        return readings_of(session.loaded, session.lease).count(test, reader)
    except LeaseLost as lost:
        raise Halt("lease", lost) from None
    except StorageError as error:
        raise Halt("storage", error) from None


def _note_both(session: Session, plain: Measurement, found: Measurement) -> None:
    """Put both measurements on the sealed test into the result, on the examples scored for both."""
    of_plain, of_found = scored_for_all([plain, found])
    if len(of_plain.outcomes) < len(plain.scores()):
        _note_test(session, "baseline", of_plain)
    _note_test(session, "optimized", of_found)


def _note_test(session: Session, which: str, found: Measurement) -> None:
    """Put a measurement on the sealed test into the result: `baseline` or `optimized`."""
    result = session.result
    target = session.loaded.settings.evaluation.thresholds.target
    (result.baseline if which == "baseline" else result.optimized)["test"] = found.mean
    result.accuracy[which] = found.pass_share(target)
    missing = len(session.plan.split.test) - len(found.scores())
    session.emit("test", program=which, mean=found.mean, excluded=missing)


def _warn_of_missing(session: Session, which: str, found: Measurement) -> None:
    if found.excluded:
        session.warn(
            "examples_excluded",
            f"{len(found.excluded)} test examples of the {which} program have no score: they count for none.",
        )


def note_comparison(session: Session, comparison: Comparison) -> None:
    """Put the verdict and what it rests on into the result."""
    result = session.result
    result.verdict = comparison.verdict
    result.interval = [comparison.interval[0], comparison.interval[1]]
    result.p_value = comparison.p_value
    result.alpha = comparison.alpha
    result.method = comparison.method
    result.minimum_detectable_effect = comparison.minimum_detectable_effect
