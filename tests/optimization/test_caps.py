"""Caps of every kind, reached in every stage; `benchmarks/caps.py` does it with every optimizer."""

import functools
import random

import pytest
from caps_books import judge_capped, judge_late, judge_resumed
from caps_harness import KINDS, Case, make_place, place_cap, ran, whole

from skill_fleet.llm.budget import Account, Limits
from skill_fleet.optimization.door import Doorkeeper

pytestmark = pytest.mark.timeout(300)
CASES = [Case("miprov2"), Case("copro", judged=True), Case("knn_few_shot")]
RANDOM_SEARCH = Case("bootstrap_random_search")


@pytest.fixture(scope="module")
def whole_of(tmp_path_factory):
    """What a case takes when nothing stops it."""
    return functools.cache(lambda case: whole(case, tmp_path_factory.mktemp("whole") / case.optimizer))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.optimizer)
def test_a_cap_holds_wherever_it_is_reached(case, kind, whole_of, tmp_path):
    uncapped = whole_of(case)
    rng = random.Random(f"{case} {kind}")
    stage = uncapped.stages[KINDS.index(kind) % len(uncapped.stages)]
    limits = place_cap(rng, kind, stage, uncapped)
    done = ran(make_place(tmp_path / "place"), case, limits)
    verdict = judge_capped(done, case, kind, limits)
    assert (*verdict.faults, *judge_late(done)) == ()
    assert verdict.hit is not None


@pytest.mark.parametrize("kind", ["calls", "usd"])
def test_gone_on_with_without_the_cap_it_ends_where_it_would_have(kind, whole_of, tmp_path):
    case = CASES[2]
    limits = place_cap(random.Random(3), kind, "sealed test", whole_of(case))
    done = ran(make_place(tmp_path / "place"), case, limits)
    assert judge_capped(done, case, kind, limits).hit is not None
    assert judge_resumed(done, case, whole_of(case)) == []


def test_a_judges_calls_are_capped_as_the_judges(whole_of, tmp_path):
    case = CASES[1]
    uncapped = whole_of(case)
    assert "judge" in uncapped.stages
    limits = place_cap(random.Random(1), "calls", "judge", uncapped)
    done = ran(make_place(tmp_path / "place"), case, limits)
    assert judge_capped(done, case, "calls", limits).faults == ()
    assert done.result.calls["by_phase"]["judge"] > 0


def test_nothing_an_optimizer_has_queued_begins_after_the_halt(tmp_path):
    done = ran(make_place(tmp_path / "place"), RANDOM_SEARCH, Limits(calls=140))
    assert [stage for stage, _ in done.watch.closed][:1] == ["search"]
    assert done.begun_late <= RANDOM_SEARCH.threads


def test_the_harness_sees_a_door_that_stands_open(tmp_path, monkeypatch):
    """A guard on the guard: stock DSPy goes on with its queue."""
    monkeypatch.delattr(Doorkeeper, "on_module_start")
    late = [
        ran(make_place(tmp_path / str(calls)), RANDOM_SEARCH, Limits(calls=calls)).begun_late
        for calls in (130, 140, 150)
    ]
    assert max(late) > 0


def test_the_harness_sees_a_cap_that_does_not_hold(whole_of, tmp_path, monkeypatch):
    """A guard on the guard: an account that lets more through than it may."""
    honest = Account.over

    def lenient(self, ceiling, worst):
        more = {"calls": 2, "usd": 6.0, "tokens": 20_000}
        given = {name: getattr(ceiling, name) for name in more}
        raised = {name: cap + more[name] for name, cap in given.items() if cap is not None}
        return honest(self, Limits(**raised), worst)

    monkeypatch.setattr(Account, "over", lenient)
    case = Case("knn_few_shot")
    for kind in ("calls", "tokens", "usd"):
        limits = place_cap(random.Random(2), kind, "baseline", whole_of(case))
        done = ran(make_place(tmp_path / kind), case, limits)
        assert judge_capped(done, case, kind, limits).faults, kind
