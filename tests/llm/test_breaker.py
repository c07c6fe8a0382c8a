"""The breaker's states, one after another, on a clock that is told the time."""

import math
import random

import pytest

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import Failure
from skill_fleet.llm.limits.admission import Admission
from skill_fleet.llm.limits.breaker import COOL, IN_A_ROW, SPELL, Breaker
from skill_fleet.llm.limits.callers import Place, Quota

DOWN = ProviderError("It is down.")
NO_KEY = ProviderError("The key is refused.", code="auth")
SERVER = Failure("server", "retry", sent=True)
AUTH = Failure("auth", "stop", sent=False)
LIMIT = Failure("rate_limit", "retry", sent=False, retry_after=1.0)


def breaker(outage: float = 120.0) -> Breaker:
    return Breaker(outage, random.Random(0))


def opened(outage: float = 120.0) -> Breaker:
    made = breaker(outage)
    for _ in range(IN_A_ROW):
        made.failed(0.0, DOWN, probe=False, sent=-SPELL)
    return made


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not() -> None:
    made = breaker()
    for _ in range(IN_A_ROW - 1):
        made.failed(0.0, DOWN, probe=False)
    made.answered(SPELL, probe=False)
    for _ in range(IN_A_ROW - 1):
        made.failed(SPELL, DOWN, probe=False)
    made.answered(2 * SPELL, probe=False)
    for _ in range(IN_A_ROW - 1):
        made.failed(3 * SPELL, DOWN, probe=False)
    assert (made.state, made.wait(3 * SPELL)) == ("closed", 0.0)
    now = 4 * SPELL
    made.failed(now, DOWN, probe=False)
    assert made.state == "open"
    assert 1.0 <= made.wait(now) <= 1.2


def test_failures_are_in_a_row_no_more_where_one_was_turned_away_for_its_rate() -> None:
    made = breaker()
    for _ in range(IN_A_ROW - 1):
        made.failed(0.0, DOWN, probe=False)
    made.limited(SPELL, DOWN, probe=False)
    for _ in range(IN_A_ROW - 1):
        made.failed(2 * SPELL, DOWN, probe=False)
    assert made.state == "closed"
    made.failed(3 * SPELL, DOWN, probe=False)
    assert made.state == "open"


def test_a_probe_whose_key_is_refused_lets_a_call_of_another_model_look_at_once() -> None:
    made = opened()
    assert made.admitted("m")
    made.refused(2.0, "m", NO_KEY, probe=True)
    assert (made.state, made.wait(2.0)) == ("open", 0.0)
    assert made.given_up("m", 2.0) is NO_KEY
    assert made.given_up("m", 2.0 + COOL) is None
    assert made.given_up("another", 2.0) is None
    assert made.admitted("another")
    made.answered(2.5, probe=True)
    assert (made.state, made.given_up("m", 2.5)) == ("closed", NO_KEY)


def test_a_late_refusal_of_a_key_leaves_the_probe_under_way_alone() -> None:
    made = opened()
    assert made.admitted("m")
    made.refused(2.0, "m", NO_KEY, probe=False)
    assert made.state == "half_open"


def test_many_that_fail_in_one_moment_do_not_open_it_and_one_that_goes_on_does() -> None:
    made = breaker()
    for _ in range(64):
        made.failed(10.0, DOWN, probe=False, sent=9.9)
    assert made.state == "closed"
    made.failed(9.8 + SPELL, DOWN, probe=False, sent=11.0)
    assert made.state == "closed"
    made.failed(9.9 + SPELL, DOWN, probe=False, sent=11.0)
    assert made.state == "open"


def test_what_was_answered_while_a_call_that_failed_was_under_way_counts() -> None:
    made = breaker()
    made.answered(99.9, probe=False)
    for _ in range(64):
        made.failed(100.0, DOWN, probe=False, sent=0.0)
    assert made.state == "closed"


def test_one_probe_goes_when_it_has_rested_and_the_others_wait_for_its_end() -> None:
    made = opened()
    assert made.wait(1.3) == 0.0
    assert made.admitted("m")
    assert (made.state, made.wait(1.3)) == ("half_open", math.inf)
    made.answered(1.5, probe=True)
    assert (made.state, made.wait(1.5)) == ("closed", 0.0)
    assert not made.admitted("m")


def test_each_probe_that_fails_doubles_the_rest_up_to_a_bound_and_an_answer_resets_it() -> None:
    made, now, rests = opened(outage=1e9), 0.0, []
    for _ in range(8):
        rests.append(made.wait(now))
        now += rests[-1]
        assert made.admitted("m")
        made.failed(now, DOWN, probe=True)
    for rest, least in zip(rests, (1, 2, 4, 5, 5, 5, 5, 5), strict=True):
        assert least <= rest <= least * 1.2
    now += made.wait(now)
    made.admitted("m")
    made.answered(now, probe=True)
    for _ in range(IN_A_ROW):
        made.failed(now + SPELL, DOWN, probe=False)
    assert made.state == "closed", "the answer was just now"
    now += 2 * SPELL
    made.failed(now, DOWN, probe=False)
    assert 1.0 <= made.wait(now) <= 1.2


def test_late_failures_of_calls_from_before_change_nothing() -> None:
    made = opened()
    rest = made.wait(0.0)
    for _ in range(50):
        made.failed(0.5, DOWN, probe=False)
    assert made.wait(0.0) == rest
    made.admitted("m")
    made.failed(1.5, DOWN, probe=False)
    assert made.state == "half_open"


def test_a_late_answer_of_a_call_from_before_lets_a_probe_go_at_once_but_no_more() -> None:
    made = opened()
    made.answered(0.1, probe=False)
    assert (made.state, made.wait(0.1)) == ("open", 0.0)
    assert made.admitted("m")
    made.answered(0.2, probe=False)
    assert made.state == "half_open"


def test_a_probe_that_is_dropped_leaves_its_place_to_another() -> None:
    made = opened()
    assert made.admitted("m")
    made.dropped(2.0, probe=True)
    assert (made.state, made.wait(2.0)) == ("open", 0.0)
    assert made.admitted("m")
    made.dropped(2.0, probe=False)
    assert made.state == "half_open"


def test_it_is_given_up_after_the_outage_time_and_asked_again_after_a_rest_never_for_ever() -> None:
    made, now = opened(outage=10.0), 0.0
    while made.state != "given_up":
        now += made.wait(now)
        assert made.given_up("m", now) is None
        made.admitted("m")
        made.failed(now, DOWN, probe=True)
    assert now == pytest.approx(10.0)
    assert made.given_up("m", now) is DOWN
    assert made.given_up("m", now + COOL) is None
    later = now + COOL
    assert made.admitted("m")
    made.failed(later, DOWN, probe=True)
    assert made.state == "open"
    assert 1.0 <= made.wait(later) <= 1.2
    made.admitted("m")
    made.answered(later + 1, probe=True)
    assert made.state == "closed"


def test_a_new_run_asks_once_instead_of_being_told_an_old_error() -> None:
    made, now = opened(outage=10.0), 0.0
    while made.state != "given_up":
        now += made.wait(now)
        made.admitted("m")
        made.failed(now, DOWN, probe=True)
    made.asked_anew(now + 1, "m")
    assert made.given_up("m", now + 1) is None
    assert made.wait(now + 1) == 0.0
    assert made.admitted("m"), "as a probe: nobody else goes until it is over"
    assert made.wait(now + 1) == math.inf
    made.failed(now + 2, DOWN, probe=True)
    assert made.state == "open", "its outage begins anew"
    assert made.given_up("m", now + 2) is None


def test_a_refused_key_is_tried_once_more_by_a_new_run_and_then_refused_to_all() -> None:
    made, no = breaker(), ProviderError("No.")
    made.refused(0.0, "m", no, probe=False)
    made.asked_anew(1.0, "another")
    assert made.given_up("m", 1.0) is no
    made.asked_anew(1.0, "m")
    assert made.given_up("m", 1.0) is None
    assert made.admitted("m")
    assert made.wait(1.0) == math.inf
    made.refused(1.1, "m", no, probe=True)
    assert made.given_up("m", 1.2) is no
    made.asked_anew(1.2, "m")
    assert made.admitted("m")
    made.answered(1.3, probe=True)
    assert made.state == "closed"


def test_a_new_run_does_not_shorten_the_rest_of_a_breaker_that_others_wait_for() -> None:
    made = opened()
    rest = made.wait(0.0)
    made.asked_anew(0.0, "m")
    assert made.wait(0.0) == rest >= 1.0


def test_calls_turned_away_for_good_are_given_up_too_with_the_cause() -> None:
    made, slow = breaker(outage=10.0), ProviderError("Too many requests.")
    made.limited(0.0, slow, probe=False)
    made.limited(9.9, slow, probe=False)
    assert made.given_up("m", 9.9) is None
    made.limited(10.0, slow, probe=False)
    assert made.given_up("m", 10.0) is slow


def test_a_probe_turned_away_for_its_rate_shows_that_somebody_is_there() -> None:
    made = opened()
    made.admitted("m")
    made.limited(1.3, DOWN, probe=True)
    assert made.state == "closed"


def test_silence_while_nobody_asked_is_no_outage() -> None:
    made = breaker(outage=10.0)
    made.limited(0.0, DOWN, probe=False)
    made.idle()
    made.limited(1000.0, DOWN, probe=False)
    assert made.state == "closed"


class Account:
    """An account and its callers, without threads."""

    def __init__(self, outage: float = 120.0) -> None:
        self.core = Admission(60.0, outage, random.Random(0))

    def ask(self, now: float, model: str = "m", *, probes: int = 0) -> Place:
        place = Place(Quota(model), 1, lambda: None, probes)
        self.core.enter(place, now)
        return place


def test_a_refused_key_ends_all_waiting_calls_and_those_that_come_but_not_of_another_account() -> None:
    one, other = Account(), Account()
    under_way = [one.ask(0.0) for _ in range(16)]
    one.core.rate.paused_until = 5.0
    waiting = [one.ask(1.0) for _ in range(16)]
    one.core.failed(under_way[0].call, AUTH, NO_KEY, 1.0)
    assert {place.error for place in waiting} == {NO_KEY}
    assert one.ask(2.0).error is NO_KEY
    assert one.core.admitted == 16
    assert other.ask(2.0).call is not None


def test_where_one_model_is_refused_one_call_of_another_is_made_to_see() -> None:
    made = Account()
    first = made.ask(0.0, "forbidden")
    made.core.failed(first.call, AUTH, NO_KEY, 0.0)
    probe, behind = made.ask(0.1, "allowed"), made.ask(0.1, "allowed")
    assert probe.call.probe
    assert not behind.decided
    made.core.answered(probe.call, 1, 0.5)
    assert behind.call is not None
    assert made.ask(0.6, "forbidden").error is NO_KEY
    assert made.ask(COOL, "forbidden").call is not None


def test_of_many_who_wait_for_a_provider_that_is_away_one_at_a_time_asks() -> None:
    made = Account(outage=30.0)
    for place in [made.ask(-SPELL) for _ in range(IN_A_ROW)]:
        made.core.failed(place.call, SERVER, DOWN, 0.0)
    waiting, now, probes = [made.ask(0.0) for _ in range(64)], 0.0, 0
    while not all(place.error for place in waiting if place.call is None):
        now = max(now, min(place.due for place in waiting if not place.decided))
        made.core.serve(now)
        asking = [place for place in waiting if place.call is not None]
        assert len(asking) == probes + 1
        assert asking[-1].call.probe
        probes += 1
        made.core.failed(asking[-1].call, SERVER, DOWN, now)
    assert now == pytest.approx(30.0)
    assert probes == 8
    assert sum(place.error is DOWN for place in waiting) == 64 - probes


def test_the_call_that_probed_last_probes_again_and_after_some_times_it_is_anothers_turn() -> None:
    made = Account()
    for place in [made.ask(-SPELL) for _ in range(IN_A_ROW)]:
        made.core.failed(place.call, SERVER, DOWN, 0.0)
    waiting, probed, now = {made.ask(0.0): number for number in range(16)}, [], 0.0
    for _ in range(12):
        now = max(now, min(place.due for place in waiting if not place.decided))
        made.core.serve(now)
        (probe,) = [place for place in waiting if place.call is not None]
        assert probe.call.probe
        probed.append(waiting.pop(probe))
        made.core.failed(probe.call, SERVER, DOWN, now)
        waiting[made.ask(now, probes=probe.call.probes)] = probed[-1]
    assert probed == [0] * 5 + [1] * 5 + [2] * 2
    now += 60.0
    made.core.serve(now)
    (probe,) = [place for place in waiting if place.call is not None]
    made.core.answered(probe.call, 1, now)
    assert all(place.call is not None for place in waiting)
    assert made.ask(now, probes=3).call.probes == 0


def test_when_it_is_back_everybody_goes() -> None:
    made = Account()
    for place in [made.ask(-SPELL) for _ in range(IN_A_ROW)]:
        made.core.failed(place.call, SERVER, DOWN, 0.0)
    waiting = [made.ask(0.0) for _ in range(10)]
    made.core.serve(1.3)
    (probe,) = [place for place in waiting if place.call]
    made.core.answered(probe.call, 1, 2.0)
    assert all(place.call for place in waiting)


def test_a_call_turned_away_pauses_and_is_no_outage() -> None:
    made = Account()
    for place in [made.ask(0.0) for _ in range(4 * IN_A_ROW)]:
        made.core.failed(place.call, LIMIT, DOWN, 0.0)
    assert made.core.breaker.state == "closed"
    assert 1.0 <= made.core.rate.paused_until <= 1.1
