"""kill -9 of `optimize`, then `runs resume`: the same program, and no answer paid twice.

One moment a case here; `benchmarks/kill.py` takes as many as one likes.
"""

import functools
import random

import pytest
from kill_harness import Case, kill_and_resume, uninterrupted

CASES = [
    Case("gepa", 1),
    Case("gepa", 8),
    Case("miprov2", 1),
    Case("miprov2", 8),
    Case("bootstrap_random_search", 1),
    Case("bootstrap_random_search", 8),
    Case("bootstrap_few_shot", 8),
    Case("labeled_few_shot", 8),
    Case("simba", 8),
    Case("copro", 8),
    Case("infer_rules", 8),
]


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory):
    """The uninterrupted result of an optimizer; it does not depend on the number of threads."""
    return functools.cache(lambda name: uninterrupted(Case(name, 4), tmp_path_factory.mktemp("whole") / name))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.optimizer}-{case.threads}")
def test_a_killed_run_is_resumed_without_paying_twice(case, whole_of, tmp_path):
    whole = whole_of(case.optimizer)
    moment = random.Random(f"{case}").randint(1, int(whole["calls"]["made"] * 0.95))
    killed = kill_and_resume(case, tmp_path / "killed", moment)
    assert killed.hash == whole["program_hash"]
    assert killed.repeated == 0
    assert killed.lost <= case.threads
    assert killed.calls == whole["calls"]["made"] + killed.lost
