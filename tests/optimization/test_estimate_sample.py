"""A sample of `benchmarks/estimates.py`: what runs took, in their estimates."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "estimates.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_of_estimates", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SAMPLE = (
    ("bootstrap_few_shot", "medium", "triage:TriageProgram", 16, 4, 2),
    ("labeled_few_shot", "light", "two_steps:TwoSteps", 16, 4, 1),
    ("bootstrap_random_search", "light", "triage:TriageProgram", 10, 3, 1),
    ("gepa", "light", "triage:TriageProgram", 10, 3, 1),
    ("copro", "light", "triage:TriageProgram", 10, 3, 1),
)


def test_runs_lie_in_their_estimates_and_none_passes_a_bound(benchmark):
    outcomes = [benchmark.outcome(benchmark.Case(*one, seed=7)) for one in SAMPLE]
    assert [one.failed for one in outcomes] == [None] * len(SAMPLE)
    assert [one.passed for one in outcomes] == [()] * len(SAMPLE)
    inside = [one.inside(measure) for one in outcomes for measure in benchmark.MEASURES]
    assert sum(inside) >= len(inside) - 2, [benchmark.line(one) for one in outcomes]
    ratios = sorted(one.ratio("calls") for one in outcomes)
    assert ratios[len(ratios) // 2] <= benchmark.RATIO


def test_the_benchmark_tells_a_miss(benchmark, capsys):
    case = benchmark.Case("gepa", "light", "triage:TriageProgram", 10, 3, 1, seed=0)
    ends = {"calls": (10, 20), "tokens": (100, 200)}
    good = benchmark.Outcome(case, (9, 6, 15), ends, {"calls": 15, "tokens": 200}, (), None)
    assert benchmark.told([good] * 10)
    bad = benchmark.Outcome(case, (9, 6, 15), ends, {"calls": 21, "tokens": 150}, (), None)
    assert "21 !" in benchmark.line(bad)
    assert not benchmark.told([good] * 8 + [bad] * 2)
    wide = benchmark.Outcome(case, (9, 6, 15), {"calls": (1, 31), "tokens": (1, 31)}, good.actual, (), None)
    assert not benchmark.told([wide] * 10)
    over = benchmark.Outcome(case, (9, 6, 15), ends, good.actual, ("evaluation",), None)
    assert not benchmark.told([over])
    failed = benchmark.Outcome(case, (9, 6, 15), ends, good.actual, (), "It failed.")
    assert not benchmark.told([failed])
    assert "calls: 80.0 % of 10 runs inside" in capsys.readouterr().out


def test_every_optimizer_and_level_is_asked(benchmark):
    cases = benchmark.cases(("gepa", "copro"), (1, 2), 0)
    asked = {(case.optimizer, case.auto, case.program) for case in cases}
    assert len(asked) == 2 * (3 * 2 + 1)
    assert {case.rounds for case in cases} == {1, 2}
