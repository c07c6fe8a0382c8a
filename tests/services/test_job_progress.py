"""How far a job is: between 0 and 1, never falling, and moving."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.services.job_progress import RunProgress

_COUNTS = st.integers(0, 10**6)
_STAGES = st.sampled_from(
    ["preflight", "baseline", "validation", "candidates", "sealed test", "held out", "news"]
)
_MEASURED = st.builds(
    lambda stage, done, more: ("progress", {"stage": stage, "done": done, "total": done + more}),
    _STAGES,
    _COUNTS,
    _COUNTS,
)
_SEARCHED = st.builds(
    lambda number, calls, rollouts: (
        "progress",
        {"stage": "search", "round": number, "calls": calls, "rollouts": rollouts},
    ),
    st.integers(1, 5),
    _COUNTS,
    _COUNTS,
)
_KEPT = st.builds(
    lambda kind, number: (kind, {"round": number, "status": "stopped"}),
    st.sampled_from(["started", "preflight", "baseline", "round", "test", "published", "fold", "news"]),
    st.integers(1, 5),
)
_EVENTS = st.lists(st.one_of(_MEASURED, _SEARCHED, _KEPT), max_size=40)


@given(
    _EVENTS,
    st.integers(1, 5),
    st.integers(0, 20),
    st.none() | st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)),
)
def test_it_stays_within_its_bounds_and_never_falls(
    events: list[tuple[str, dict[str, Any]]], rounds: int, folds: int, expected: tuple[float, float] | None
) -> None:
    progress = RunProgress(rounds, folds, expected)
    seen = [progress.value]
    for index, (kind, data) in enumerate(events):
        about = {"fold": index % folds + 1} if folds and index % 2 else {}
        progress.see(kind, {**data, **about})
        seen.append(progress.value)
        assert progress.message
    assert seen[0] == 0.0
    assert seen[-1] <= 1.0
    assert all(before <= after for before, after in pairwise(seen))


def test_a_search_moves_with_its_calls_and_says_so() -> None:
    progress = RunProgress(2, expected=(400, 900))
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 0, "calls": 100})
    began = progress.value
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 9, "calls": 212})
    assert progress.message == "Round 1 of 2: searching, 112 calls."
    middle = progress.value
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 99, "calls": 10_000})
    assert began < middle < progress.value < 0.475
    progress.see("round", {"round": 1})
    assert progress.value == 0.475


def _searching(calls: int) -> RunProgress:
    progress = RunProgress(1, expected=(1_000, 22_000))
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 0, "calls": 0})
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 99, "calls": calls})
    return progress


def test_a_round_that_a_cap_has_cut_short_counts_by_its_calls() -> None:
    progress = _searching(600)
    by_calls = progress.value
    assert 0.1 < by_calls < 0.3
    progress.see("progress", {"stage": "validation", "done": 20, "total": 20, "stopped": "budget"})
    progress.see("round", {"round": 1, "stopped": "budget"})
    progress.see("progress", {"stage": "sealed test", "done": 19, "total": 20})
    assert progress.message == "Sealed test, 19 of 20 examples."
    for _ in range(2):
        progress.see("test", {})
    progress.see("published", {})
    progress.see("finished", {"status": "stopped"})
    assert (progress.value, progress.message) == (by_calls, "Stopped.")


def test_it_does_not_rise_while_the_run_is_being_stopped() -> None:
    progress = _searching(600)
    stood = progress.value
    progress.cut_short()
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 99, "calls": 900})
    progress.see("progress", {"stage": "validation", "done": 20, "total": 20})
    assert progress.value == stood
    progress.see("finished", {"status": "succeeded"})
    assert progress.value == 1.0, "it was done before it heard of it"


def test_a_round_that_came_to_its_end_is_done() -> None:
    progress = _searching(600)
    progress.see("round", {"round": 1, "stopped": None})
    assert progress.value == 0.85


def test_each_pass_over_the_sealed_test_moves_it() -> None:
    progress = RunProgress(1)
    progress.see("progress", {"stage": "sealed test", "done": 50, "total": 100})
    first = progress.value
    progress.see("test", {})
    progress.see("progress", {"stage": "sealed test", "done": 50, "total": 100})
    assert 0.85 < first < progress.value < 0.98
    progress.see("finished", {"status": "succeeded"})
    assert (progress.value, progress.message) == (1.0, "Done.")


def test_what_a_cap_stopped_in_its_search_is_not_near_its_end() -> None:
    progress = RunProgress(1, expected=(400, 900))
    progress.see("progress", {"stage": "search", "round": 1, "rollouts": 0, "calls": 30})
    progress.see("published", {"published": "baseline"})
    progress.see("finished", {"status": "stopped"})
    assert progress.value < 0.2


def test_a_run_that_waits_for_a_provider_says_so_and_stands_where_it_is() -> None:
    progress = RunProgress(2)
    progress.see("progress", {"stage": "baseline", "done": 5, "total": 10})
    before = progress.value
    progress.see("waiting", {"message": "No answer from openai (server) for 12 s."})
    assert (progress.value, progress.message) == (before, "No answer from openai (server) for 12 s.")
    progress.see("progress", {"stage": "baseline", "done": 6, "total": 10})
    assert progress.message.startswith("Measuring the baseline")
