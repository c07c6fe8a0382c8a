"""Which request meets which fault: a function of seed, request and attempt, and of nothing else."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.foundation.errors import UnknownName, UsageError
from skill_fleet.simulator.faults import CATALOGUE, Attempts, drawn, latency
from skill_fleet.simulator.settings import Faults

PASSING = [name for name, fault in CATALOGUE.items() if not fault.permanent]
PERMANENT = [name for name, fault in CATALOGUE.items() if fault.permanent]
rates = st.dictionaries(st.sampled_from(PASSING), st.floats(0, 0.2), max_size=5)
keys = st.text("abc", min_size=1, max_size=3)


@given(rates, st.integers(0, 2**32), keys, st.integers(1, 5))
def test_a_request_never_meets_more_faults_in_a_row_than_allowed(found, seed, key, in_a_row):
    attempts = Attempts()
    met = [attempts.next(found, in_a_row, seed, key)[1] is not None for _ in range(60)]
    longest = max((len(list(run)) for fault, run in itertools.groupby(met) if fault), default=0)
    assert longest <= in_a_row


def test_at_a_rate_of_one_every_fifth_attempt_is_answered():
    attempts = Attempts()
    met = [attempts.next({"server_error": 1.0}, 4, 0, "k")[1] is not None for _ in range(10)]
    assert met == [True, True, True, True, False] * 2


@given(rates, st.integers(0, 99), st.lists(keys, min_size=1, max_size=40), st.randoms())
def test_the_order_of_requests_changes_nothing(found, seed, asked, mixed):
    def run(order: list[str]) -> dict[tuple[str, int], object]:
        attempts = Attempts()
        out = {}
        for key in order:
            attempt, fault = attempts.next(found, 4, seed, key)
            out[key, attempt] = fault
        return out

    other = list(asked)
    mixed.shuffle(other)
    assert run(asked) == run(other)


@pytest.mark.parametrize("name", PERMANENT)
def test_a_permanent_fault_is_met_at_every_attempt_or_never(name):
    attempts = Attempts()
    met = {key: {attempts.next({name: 0.5}, 4, 3, key)[1] for _ in range(8)} for key in map(str, range(60))}
    assert all(len(faults) == 1 for faults in met.values())
    assert {None, CATALOGUE[name]} == set().union(*met.values())


def test_faults_come_as_often_as_asked_for():
    found = {"server_error": 0.1, "hang": 0.05, "quota": 0.2}
    counted = Counter(
        fault.name if (fault := drawn(found, 7, str(key), 0)) else "none" for key in range(20_000)
    )
    for name, rate in {**found, "none": 0.65}.items():
        assert abs(counted[name] / 20_000 - rate) < 0.012, name


def test_the_order_in_which_rates_are_written_changes_nothing():
    names = ["server_error", "hang", "quota", "drip"]
    one = dict.fromkeys(names, 0.2)
    other = dict.fromkeys(reversed(names), 0.2)
    assert [drawn(one, 0, str(key), 1) for key in range(300)] == [
        drawn(other, 0, str(key), 1) for key in range(300)
    ]


def test_another_seed_is_other_luck():
    draws = [[drawn({"reset": 0.5}, seed, str(key), 0) for key in range(64)] for seed in (0, 1)]
    assert draws[0] != draws[1]


def test_what_is_asked_longest_ago_is_forgotten_first():
    attempts = Attempts(limit=2)
    numbers = [attempts.next({}, 4, 0, key)[0] for key in ("a", "b", "a", "c", "a", "b")]
    assert numbers == [0, 0, 1, 0, 2, 0]


def test_latencies_are_log_normal_about_their_median():
    found = sorted(latency(0.2, 0.5, 1, str(key), 0) for key in range(4000))
    assert found[2000] == pytest.approx(0.2, rel=0.05)
    assert found[round(4000 * 0.8413)] == pytest.approx(0.2 * 2.718281828**0.5, rel=0.07)
    assert latency(0.2, 0.5, 1, "3", 0) == latency(0.2, 0.5, 1, "3", 0) != latency(0.2, 0.5, 1, "3", 1)
    assert latency(0.2, 0.0, 1, "3", 0) == pytest.approx(0.2)
    assert latency(0.0, 0.5, 1, "3", 0) == 0


def test_rates_out_of_range_are_refused():
    with pytest.raises(UnknownName, match="no fault named 'hangs'") as refused:
        Faults({"hangs": 0.1})
    assert refused.value.hint == "Did you mean 'hang'?"
    for bad in ({"hang": 1.1}, {"hang": -0.1}, {"hang": float("nan")}, {"hang": 0.6, "drip": 0.6}):
        with pytest.raises(UsageError):
            Faults(bad)
    for options in ({"in_a_row": -1}, {"hang_seconds": 0}, {"slow_seconds": float("inf")}):
        with pytest.raises(UsageError):
            Faults({}, **options)


def test_a_draw_does_not_move_the_generators_of_others():
    random.seed(5)
    before = random.getstate()
    drawn({"hang": 0.5}, 0, "k", 0)
    latency(1, 1, 0, "k", 0)
    assert random.getstate() == before
