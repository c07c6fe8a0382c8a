"""What a run was estimated to take against what it took, on the offline model, in fresh workspaces.

    python benchmarks/estimates.py [--optimizer NAME] [--rounds 1] [--seed 0] [--shard 1/2] [--workers 2]

Every optimizer at light, medium and heavy, on the ticket program and on the program of two steps, over three
sizes of data, with one round and with two; and on the skill program at light. Columns of a run: the program,
examples in train + validation + sealed test, rounds allowed; calls and tokens as estimated (low to high) and
as they were; `!` marks what lay outside. The second table sums up each optimizer and level: the share of its
runs inside, and the median of high divided by low. The last lines are those of all runs; the exit code is 1
where fewer than 90 % lie inside, where the median is above 3, or where a phase passed its bound.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "tests" / "optimization" / "programs"
LEVELS = ("light", "medium", "heavy")
MEASURES = ("calls", "tokens")
REWARDED = ("best_of_n", "refine")
SKILLS = "SkillCreationProgram"
TICKETS = {"triage:TriageProgram": "tickets", "two_steps:TwoSteps": "two steps", SKILLS: "skills"}
INSIDE, RATIO = 0.9, 3.0


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        optimizer: By name.
        auto: How far.
        program: `module:Class`, or the skill program.
        groups: Groups of the data.
        of_each: Examples of a group.
        rounds: Most rounds.
        seed: Of data and run.
    """

    optimizer: str
    auto: str
    program: str
    groups: int
    of_each: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        case: It.
        examples: Train, validation, sealed test.
        estimated: Measure -> low and high.
        actual: Measure -> what it took.
        passed: Phases that passed their bound.
        failed: Why the run failed, or None.
    """

    case: Case
    examples: tuple[int, ...]
    estimated: dict[str, tuple[float, float]]
    actual: dict[str, float]
    passed: tuple[str, ...]
    failed: str | None

    def inside(self, measure: str) -> bool:
        """Whether it lies in the estimate."""
        low, high = self.estimated[measure]
        return self.failed is None and low <= self.actual[measure] <= high

    def ratio(self, measure: str) -> float:
        """High by low."""
        low, high = self.estimated[measure]
        return high / max(1.0, low)


def cases(optimizers: Sequence[str], rounds: Sequence[int], seed: int) -> list[Case]:
    """All runs; the larger the search, the smaller the largest data."""
    found = []
    for name in optimizers:
        for auto in LEVELS:
            sizes = ((10, 3), (16, 4), (16, 8)) if auto == "light" else ((10, 3), (16, 4))
            for program in ("triage:TriageProgram", "two_steps:TwoSteps"):
                found += [
                    Case(name, auto, program, groups, of_each, number, seed + number - 1)
                    for groups, of_each in sizes
                    for number in rounds
                ]
        found += [Case(name, "light", SKILLS, 14, 2, number, seed) for number in rounds[:1]]
    return found


def outcome(case: Case) -> Outcome:
    """Run it in a workspace of its own."""
    from skill_fleet.config.load import load
    from skill_fleet.foundation.clock import SYSTEM_CLOCK
    from skill_fleet.optimization.planning.plan import make_plan
    from skill_fleet.optimization.records.runs import new_run
    from skill_fleet.optimization.run import run

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        request = prepared(case, root)
        loaded = load(root, environ={})
        finished = run(make_plan(request, loaded), new_run(loaded.workspace.runs, SYSTEM_CLOCK), loaded)
    result = finished.result
    assert result.estimate is not None
    actual = {"calls": result.calls["made"], "tokens": sum(result.tokens.values())}
    bounds = {phase: line["most"] for phase, line in result.estimate["by_phase"].items()}
    return Outcome(
        case,
        tuple(result.examples.values()),
        {measure: tuple(result.estimate[measure]) for measure in MEASURES},
        actual,
        tuple(phase for phase, made in result.calls["by_phase"].items() if made > bounds.get(phase, 0)),
        None if finished.error is None else finished.error.message,
    )


def prepared(case: Case, root: Path) -> Any:
    """The case's data and programs in its workspace, and its request."""
    from skill_fleet.optimization.records.request import OptimizationRequest

    own = case.program != SKILLS
    (root / "data.json").write_text(json.dumps(items(case)))
    for file in PROGRAMS.glob("*.py"):
        copy(file, root)
    return OptimizationRequest(
        program=case.program,
        metric="triage:exact" if own else None,
        reward="triage:plausible" if own and case.optimizer in REWARDED else None,
        data="data.json",
        optimizer=case.optimizer,
        auto=case.auto,
        rounds=case.rounds,
        num_threads=4,
        seed=case.seed,
        output="found.json",
    )


def items(case: Case) -> list[dict[str, Any]]:
    """So many examples of so many groups."""
    rng = random.Random(case.seed)
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in pool(case.program):
        groups[item["group"]].append(item)
    names = [name for name, members in groups.items() if len(members) >= case.of_each][: case.groups]
    return [item for name in names for item in rng.sample(groups[name], case.of_each)]


def pool(program: str) -> list[dict[str, Any]]:
    """All examples there are for a program."""
    if program == SKILLS:
        return list(json.loads((ROOT / "config" / "training" / "trainset.json").read_text(encoding="utf-8")))
    if str(PROGRAMS) not in sys.path:
        sys.path.insert(0, str(PROGRAMS))
    import triage

    return list(triage.tickets())


def line(one: Outcome) -> str:
    """A row of the first table."""
    cells = [one.case.optimizer, one.case.auto, TICKETS[one.case.program]]
    cells += [" + ".join(map(str, one.examples)), str(one.case.rounds)]
    for measure in MEASURES:
        low, high = one.estimated[measure]
        mark = "" if one.inside(measure) else " !"
        cells += [f"{low:,} to {high:,}", f"{one.actual[measure]:,}{mark}", f"{one.ratio(measure):.1f}"]
    return "| " + " | ".join(cells) + " |" + (f" {one.failed}" if one.failed else "")


def summary(outcomes: Iterable[Outcome]) -> str:
    """Runs, and for each measure the share inside and the median ratio."""
    every = list(outcomes)
    cells = [str(len(every))]
    for measure in MEASURES:
        share = sum(one.inside(measure) for one in every) / len(every)
        cells += [f"{100 * share:.0f} %", f"{statistics.median(one.ratio(measure) for one in every):.2f}"]
    return " | ".join(cells)


def told(outcomes: list[Outcome]) -> bool:
    """Print the second table and the last lines.

    Returns:
        Whether every target is met.
    """
    print("\n| optimizer | level | runs | calls inside | high/low | tokens inside | high/low |")
    print("|---|---|---|---|---|---|---|")
    for key in dict.fromkeys((one.case.optimizer, one.case.auto) for one in outcomes):
        those = [one for one in outcomes if (one.case.optimizer, one.case.auto) == key]
        print(f"| {' | '.join(key)} | {summary(those)} |")
    met = True
    print()
    for measure in MEASURES:
        share = sum(one.inside(measure) for one in outcomes) / len(outcomes)
        ratio = statistics.median(one.ratio(measure) for one in outcomes)
        met = met and share >= INSIDE and ratio <= RATIO
        print(
            f"{measure}: {100 * share:.1f} % of {len(outcomes)} runs inside (at least {100 * INSIDE:.0f} %), "
            f"median high/low {ratio:.2f} (at most {RATIO:g})"
        )
    passed = [
        f"{one.case.optimizer} {one.case.auto}: {', '.join(one.passed)}" for one in outcomes if one.passed
    ]
    print(f"bounds passed: {'; '.join(passed) or 'none'}")
    return met and not passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", action="append")
    parser.add_argument("--rounds", type=int, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard", default="1/1", help="this of so many parts, such as 1/2")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    from skill_fleet.optimization.registry import builtin_optimizers

    part, parts = (int(number) for number in asked.shard.split("/"))
    chosen = cases(asked.optimizer or tuple(builtin_optimizers()), asked.rounds or (1, 2), asked.seed)
    print("| optimizer | level | program | examples | rounds | calls estimated | made | ratio ", end="")
    print("| tokens estimated | used | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|")
    outcomes = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.workers, mp_context=context, initializer=hushed) as workers:
        for one in workers.map(outcome, chosen[part - 1 :: parts]):
            outcomes.append(one)
            print(line(one), flush=True)
    return 0 if told(outcomes) else 1


def hushed() -> None:
    """What DSPy tells of rounds and progress is not for this table."""
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - while the process lives


if __name__ == "__main__":
    sys.exit(main())
