"""Two programs on the same examples: is the second better than the first?"""

from dataclasses import asdict
from typing import Any

from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.foundation.canonical import digest
from skill_fleet.optimization.session import Control
from skill_fleet.optimization.verdict import count_read, digest_of_test, judge
from skill_fleet.services.context import Context
from skill_fleet.services.measuring import Measuring, OnDone, as_the_run, measure_programs
from skill_fleet.services.programs import NamedProgram, load_program, same_kind, same_test


def compare_programs(
    context: Context,
    first: str,
    second: str,
    how: Measuring,
    *,
    control: Control | None = None,
    on_done: OnDone | None = None,
) -> dict[str, Any]:
    """B against A, example by example, with an interval and a verdict.

    Without data they are measured on the sealed test of their run, and with its metric and model. It is one
    more reading of these examples: each asks more of a difference. The same comparison again is none.

    Args:
        context: Settings and workspace.
        first: A: a program's file, a run, or the name of a program.
        second: B.
        how: With what.
        control: The user's hand on it.
        on_done: Told after each example: how many, of how many.

    Returns:
        `a` and `b` (label, hash, mean, share on target, excluded), `verdict` on B, `delta`, `interval`,
        `p_value`, `alpha`, `minimum_detectable_effect`, `test_reads`, and what it cost.

    Raises:
        SkillFleetError: They cannot be compared, or most examples failed.
    """
    programs = [load_program(context, name) for name in (first, second)]
    same_kind(programs)
    items = None if how.data is not None else same_test(programs)
    folder = next((named.run for named in programs if named.run is not None), None)
    if folder is not None:
        how = as_the_run(how, folder)
    measured = measure_programs(context, programs, how, items=items, control=control, on_done=on_done)
    test = digest_of_test(measured.items)
    reading = f"compare-{digest([named.hash for named in programs])[:24]}"
    reads = count_read(context.workspace.ledger, test, reading)
    found = judge(measured.found[0], measured.found[1], reads=reads, seed=0)
    facts = {name: value for name, value in asdict(found).items() if name not in {"mean_a", "mean_b"}}
    target = context.settings.evaluation.thresholds.target
    return {
        "a": _side(programs[0], measured.found[0], target),
        "b": _side(programs[1], measured.found[1], target),
        **facts,
        "test_reads": reads,
        "data": measured.data,
        "examples": len(measured.items),
        "metric": measured.metric,
        "model": measured.model,
        "simulated": measured.simulated,
        **measured.costs,
    }


def _side(named: NamedProgram, found: Measurement, target: float) -> dict[str, Any]:
    return {
        "program": named.label,
        "program_hash": named.hash,
        "mean": found.mean,
        "pass_share": found.pass_share(target),
        "excluded": len(found.excluded),
        "notes": list(named.notes),
    }
