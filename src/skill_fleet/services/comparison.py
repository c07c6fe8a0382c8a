"""Programs on the same examples: is any better than the first, and what does each take?"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.evaluation.multiplicity import InFamily
from skill_fleet.evaluation.pareto import pareto
from skill_fleet.evaluation.statistics import alpha_for_read
from skill_fleet.evaluation.usage import CostPerAnswer
from skill_fleet.foundation.canonical import digest
from skill_fleet.llm.journal.readings import readings_of
from skill_fleet.optimization.conclusions.verdict import (
    digest_of_test,
    groups_needed,
    judge_family,
    scored_for_all,
)
from skill_fleet.optimization.selection import MARGIN, cost_of
from skill_fleet.optimization.session import Control
from skill_fleet.services.context import Context
from skill_fleet.services.measuring import (
    Given,
    Measured,
    Measuring,
    OnDone,
    as_the_run,
    items_of,
    measure_programs,
)
from skill_fleet.services.programs import NamedProgram, load_program, same_kind, same_test
from skill_fleet.services.seen import new_to_all

Prefer = Literal["quality", "cheaper"]
_OF_PROGRAMS = frozenset({"mean_a", "mean_b"})


@dataclass(frozen=True)
class Side:
    """One of the programs, on the examples scored for all.

    Attributes:
        named: The program.
        found: On those examples.
        excluded: Examples without a score of its own.
        cost: What an answer takes; None where nothing is known.
    """

    named: NamedProgram
    found: Measurement
    excluded: int
    cost: CostPerAnswer | None

    @property
    def mean(self) -> float:
        """Mean quality."""
        return self.found.mean or 0.0


def compare_programs(
    context: Context,
    names: Sequence[str],
    how: Measuring,
    *,
    prefer: Prefer = "quality",
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> dict[str, Any]:
    """Every other program against the first, example by example, with intervals and verdicts.

    Without data they are measured on the sealed test of their run, and with its metric and model. It is one
    more reading of these examples: each asks more of a difference. The same comparison again is none. Of
    three and more programs all verdicts together are held to that reading's alpha (Holm). An example that
    failed for one program counts for none. Examples that one of them was made with are left out.

    Args:
        context: Settings and workspace.
        names: Two or more: a program's file, a run, or the name of a program. The first is the reference.
        how: With what.
        prefer: What the choice goes by where quality is about equal.
        control: The user's hand on it.
        on_done: Told at the beginning and after each example: how many, of how many.

    Returns:
        Of two programs `a`, `b`, and on b `verdict`, `delta`, `interval`, `p_value`, `alpha`,
        `minimum_detectable_effect`; of more `reference`, `candidates`, each with these and with `p_adjusted`
        and `simultaneous_interval`. Of each program label, hash, mean, share on target, excluded,
        `cost_per_answer` and `on_front`; besides `choice`, `test_reads`, `warnings` (`trained_on`,
        `too_few_groups`, `no_signal`), and what it cost.

    Raises:
        SkillFleetError: They cannot be compared, or most examples failed.
    """
    programs = [load_program(context, name) for name in names]
    same_kind(programs)
    source, items = _given(context, programs, how)
    new = new_to_all(programs, items, source)
    folder = next((named.run for named in programs if named.run is not None), None)
    if folder is not None:
        how = as_the_run(how, folder)
    measured = measure_programs(
        context, programs, how, given=(source, new.items), control=control, on_done=on_done
    )
    sides = _sides(programs, measured)
    hashes = [named.hash for named in programs]
    test = digest_of_test(measured.items)
    reads = readings_of(context.loaded).count(test, f"compare-{digest(_question(hashes))[:24]}")
    family = judge_family(sides[0].found, [side.found for side in sides[1:]], reads=reads, seed=0)
    return {
        **_verdicts(sides, family, alpha_for_read(reads), context.settings.evaluation.thresholds.target),
        "choice": _choice(sides, family, prefer, reads),
        "test_reads": reads,
        "data": measured.data,
        "examples": len(measured.items),
        "warnings": [*new.warnings, *_warnings(sides, family, reads)],
        "metric": measured.metric,
        "model": measured.model,
        "simulated": measured.simulated,
        **measured.costs,
    }


def _given(context: Context, programs: Sequence[NamedProgram], how: Measuring) -> Given:
    return ("the sealed test", same_test(programs)) if how.data is None else items_of(context, how)


def _warnings(sides: Sequence[Side], family: Sequence[InFamily], reads: int) -> Iterator[dict[str, Any]]:
    """Why no difference is shown, where none could have been."""
    groups = family[0].comparison.groups
    needed = groups_needed(min(one.comparison.alpha for one in family))
    if groups < needed:
        have = "1 independent group" if groups == 1 else f"{groups} independent groups"
        fresh = "; fresh examples (--data) start at reading 1" if reads > 1 else ""
        message = f"{have} cannot show any difference: at reading {reads} it takes {needed}{fresh}."
        yield {"code": "too_few_groups", "message": message}
    scores = {score for side in sides for score in side.found.scores().values()}
    if len(scores) == 1 and len(sides[0].found.outcomes) > 1:
        message = (
            f"The metric gives every answer of every program {scores.pop():.3g}: it tells nothing apart."
        )
        yield {"code": "no_signal", "message": message}


def _question(hashes: Sequence[str]) -> list[str]:
    """What is asked, whatever the order: two programs of each other, or others of a reference."""
    return sorted(hashes) if len(hashes) == 2 else [hashes[0], *sorted(hashes[1:])]


def _sides(programs: Sequence[NamedProgram], measured: Measured) -> list[Side]:
    cut = scored_for_all(measured.found)
    return [
        Side(named, kept, len(whole.excluded), cost_of(kept, measured.prices))
        for named, kept, whole in zip(programs, cut, measured.found, strict=True)
    ]


def _verdicts(
    sides: Sequence[Side], family: Sequence[InFamily], alpha: float, target: float
) -> dict[str, Any]:
    """The programs and what is found of them: flat where there are two."""
    front = pareto([(side.mean, cost) for side, cost in zip(sides, _prices(sides), strict=True)])
    shown = [_shown(side, target, on_front=on) for side, on in zip(sides, front, strict=True)]
    found = [_facts(one) for one in family]
    if len(sides) == 2:
        return {"a": shown[0], "b": shown[1], **found[0]}
    shared = {name: found[0][name] for name in ("n", "groups")}
    candidates = []
    for side, every, one in zip(shown[1:], found, family, strict=True):
        facts = {name: value for name, value in every.items() if name not in shared}
        adjusted = {"p_adjusted": one.p_adjusted, "simultaneous_interval": one.simultaneous}
        candidates.append({**side, **facts, **adjusted})
    return {"reference": shown[0], "candidates": candidates, **shared, "alpha": alpha, "correction": "holm"}


def _facts(one: InFamily) -> dict[str, Any]:
    return {name: value for name, value in asdict(one.comparison).items() if name not in _OF_PROGRAMS}


def _shown(side: Side, target: float, *, on_front: bool) -> dict[str, Any]:
    return {
        "program": side.named.label,
        "program_hash": side.named.hash,
        "mean": side.found.mean,
        "pass_share": side.found.pass_share(target),
        "excluded": side.excluded,
        "cost_per_answer": None if side.cost is None else side.cost.to_json(),
        "on_front": on_front,
        "notes": list(side.named.notes),
    }


def _prices(sides: Sequence[Side]) -> list[float | None]:
    """What an answer of each takes: dollars where all are known and some are paid, else tokens."""
    costs = [side.cost for side in sides]
    in_dollars = all(cost is not None and cost.usd is not None for cost in costs)
    if in_dollars and any(cost is not None and cost.usd for cost in costs):
        return [None if cost is None else cost.usd for cost in costs]
    return [None if cost is None else cost.tokens for cost in costs]


def _choice(sides: Sequence[Side], family: Sequence[InFamily], prefer: Prefer, reads: int) -> dict[str, Any]:
    """Which one to take: the best of those shown better than the reference, or one as good and cheaper."""
    better = [side for side, one in zip(sides[1:], family, strict=True) if one.comparison.verdict == "better"]
    best = max(better, key=lambda side: side.mean, default=sides[0])
    reason = f"better than {sides[0].named.label}" if better else "nothing is shown to be better"
    chosen = best
    if prefer == "cheaper":
        chosen = _cheapest_of_equals(best, sides, reads)
        if chosen is not best:
            reason = f"cheaper than {best.named.label}, and about as good"
    return {
        "program": chosen.named.label,
        "program_hash": chosen.named.hash,
        "prefer": prefer,
        "reason": reason,
    }


def _cheapest_of_equals(best: Side, sides: Sequence[Side], reads: int) -> Side:
    """The cheapest program whose mean is at most `MARGIN` below and that is not shown to be worse."""
    others = [side for side in sides if side is not best]
    found = judge_family(best.found, [side.found for side in others], reads=reads, seed=0)
    equals = [
        side
        for side, one in zip(others, found, strict=True)
        if one.comparison.verdict != "worse" and best.mean - side.mean <= MARGIN
    ]
    price = dict(zip((id(side) for side in sides), _prices(sides), strict=True))
    chosen, least = best, price[id(best)]
    for side in equals:
        asked = price[id(side)]
        if least is not None and asked is not None and asked < least:
            chosen, least = side, asked
    return chosen
