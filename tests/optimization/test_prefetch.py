"""Ghost = stock: with prefetch an optimizer makes the calls it makes without, and finds the same program."""

import contextlib

import pytest
from prefetch_problem import HashModel, ours

from skill_fleet.optimization.prefetch import guard
from skill_fleet.optimization.prefetch.guard import usable
from skill_fleet.optimization.search import Effort

LATENCY = 0.004
SMALL = {
    "bootstrap_random_search": (Effort(None, 5, 3, 4, 1), {"train": 14, "validation": 8}),
    "miprov2": (Effort(None, 12, 3, 3, 1), {"train": 14, "validation": 8}),
}
CASES = {
    **SMALL,
    # The variants of MIPROv2: no demonstrations at all, none from the data, minibatches, and its own levels.
    "miprov2 zero-shot": (Effort("light", None, 0, 0, 1), {"train": 12, "validation": 6}),
    "miprov2 no labels": (Effort(None, 6, 2, 0, 1), {"train": 12, "validation": 6}),
    "miprov2 minibatch": (Effort(None, 14, 2, 2, 1), {"train": 12, "validation": 52}),
    "miprov2 two candidates": (Effort(None, 2, 2, 2, 1), {"train": 12, "validation": 6}),
    "miprov2 light": (Effort("light", None, 4, 4, 1), {"train": 14, "validation": 6}),
    "bootstrap_random_search no labels": (Effort(None, 3, 8, 0, 1), {"train": 9, "validation": 6}),
}


def threaded(effort, threads):
    return Effort(
        effort.auto, effort.trials, effort.max_bootstrapped_demos, effort.max_labeled_demos, threads
    )


@contextlib.contextmanager
def another_dspy():
    """As if DSPy were of a version that nobody checked."""
    checked, guard.CHECKED = guard.CHECKED, ()
    usable.cache_clear()
    try:
        yield
    finally:
        guard.CHECKED = checked
        usable.cache_clear()


@pytest.mark.parametrize("case", CASES)
def test_ghost_is_stock(case, tmp_path):
    name = case.split()[0]
    effort, sizes = CASES[case]
    stock = ours(name, tmp_path / "stock", HashModel(), effort, **sizes)
    model = HashModel(latency=LATENCY)
    ghost = ours(name, tmp_path / "ghost", model, threaded(effort, 12), **sizes)
    assert ghost.hash == stock.hash
    assert ghost.table == stock.table
    assert ghost.table
    assert ghost.by_phase == stock.by_phase, "not one call more, and each booked as before"
    assert ghost.calls == stock.calls
    assert ghost.rollouts == stock.rollouts, "ghosts are no progress"
    assert ghost.best_seen == stock.best_seen
