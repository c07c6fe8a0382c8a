"""kill -9 of `optimize`, then `runs resume`: the same program, and no answer paid twice.

Six moments here; `benchmarks/kill.py` takes as many as one likes.
"""

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
]


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.optimizer}-{case.threads}")
def test_a_killed_run_is_resumed_without_paying_twice(case, tmp_path):
    whole = uninterrupted(case, tmp_path / "whole")
    moment = random.Random(f"{case}").randint(1, int(whole["calls"]["made"] * 0.95))
    killed = kill_and_resume(case, tmp_path / "killed", moment)
    assert killed.hash == whole["program_hash"]
    assert killed.repeated == 0
    assert killed.lost <= case.threads
    assert killed.calls == whole["calls"]["made"] + killed.lost
