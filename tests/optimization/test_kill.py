"""kill -9 or Ctrl-C of `optimize`, then `runs resume`: the same program, nothing paid twice.

A few random moments here; `benchmarks/kill.py` takes as many as one likes of every optimizer.
"""

import functools
import random
import signal

import pytest
from kill_harness import Case, stand

KILLED = [
    Case("gepa", 8),
    Case("miprov2", 8),
    Case("bootstrap_random_search", 1),
    Case("bootstrap_few_shot", 8),
    Case("copro", 1),
    Case("ensemble", 8),
]
INTERRUPTED = [Case("copro", 8), Case("miprov2", 1)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def both():
    with stand() as parents:
        yield parents


@pytest.fixture(scope="module")
def whole_of(both, tmp_path_factory):
    """The uninterrupted run of an optimizer; it does not depend on the number of threads."""
    return functools.cache(
        lambda name: both.uninterrupted(Case(name, 4), tmp_path_factory.mktemp("whole") / name)
    )


def stopped(both, case, whole, tmp_path, number=signal.SIGKILL):
    """A stop at a random moment that the run reached; the run may be faster than the whole one was."""
    rng = random.Random(f"{case} {number}")
    for tried in range(20):
        moment = whole.moment(rng, by_time=number == signal.SIGKILL and case.threads == 8)
        found = both.stopped(case, tmp_path / str(tried), moment, number)
        if found is not None and (number != signal.SIGKILL or found.code == -number):
            return found  # else it ended by itself in the moment in which it was killed
    raise AssertionError("the run was over before each of 20 moments")


@pytest.mark.parametrize("case", KILLED, ids=lambda case: f"{case.optimizer}-{case.threads}")
def test_a_killed_run_is_resumed_without_paying_twice(case, both, whole_of, tmp_path):
    whole = whole_of(case.optimizer)
    found = stopped(both, case, whole, tmp_path)
    assert found.code == -signal.SIGKILL
    assert found.faults(whole, case.threads) == []


@pytest.mark.parametrize("case", INTERRUPTED, ids=lambda case: f"{case.optimizer}-{case.threads}")
def test_ctrl_c_keeps_every_answer_and_the_resume_ends_identical(case, both, whole_of, tmp_path):
    whole = whole_of(case.optimizer)
    found = stopped(both, case, whole, tmp_path, signal.SIGINT)
    assert found.faults(whole, case.threads) == []
    # What is under way ends: with the last calls, so does the run. A busy machine hears it late.
    assert found.code == 130 or found.at >= 0.9 * whole.calls


def test_the_harness_sees_a_promise_that_is_broken(both, whole_of, tmp_path):
    """A guard on the guard: another optimizer ends in another program, after other calls."""
    found = stopped(both, Case("bootstrap_few_shot", 8), whole_of("bootstrap_few_shot"), tmp_path)
    faults = found.faults(whole_of("copro"), 8)
    assert any("another program" in fault for fault in faults)
    assert any("calls, not" in fault for fault in faults)
