"""Decisions without a socket: their times by the clock, their latencies by the draw."""

import json
import re
from dataclasses import replace

import pytest

from clocks import FakeClock
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.simulator import Faults, Limits, Price, SimulatorSettings
from skill_fleet.simulator.deciding import Decider
from skill_fleet.simulator.ledger import Ledger
from skill_fleet.simulator.script import Rule
from skill_fleet.simulator.wire import HttpRequest


def asked(prompt="hello", **more):
    body = {"model": "offline/rules-v1", "messages": [{"role": "user", "content": prompt}], **more}
    return HttpRequest("POST", "/v1/chat/completions", {}, json.dumps(body).encode(), "127.0.0.1")


def decider(clock=SYSTEM_CLOCK, **settings):
    found = SimulatorSettings(**settings)
    return Decider(found, Ledger(found.price), clock)


def test_each_attempt_takes_a_time_of_its_own_and_the_same_in_every_run():
    runs = []
    for _ in range(2):
        mind = decider(latency=0.2, seed=4)
        runs.append([mind.decide(asked()).latency for _ in range(4)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 4
    assert decider(latency=0.2, seed=5).decide(asked()).latency not in runs[0]


def test_refusals_and_errors_come_at_once():
    for name in ("server_error", "rate_limit", "auth"):
        assert decider(latency=5, faults=Faults({name: 1.0})).decide(asked()).latency == 0
    assert decider(latency=5, faults=Faults({"reset": 1.0})).decide(asked()).latency > 0


def test_time_is_the_clock_s():
    clock = FakeClock(1_000_000.0)
    mind = decider(clock, limits=Limits(rps=1))
    first = mind.decide(asked())
    assert json.loads(first.parts[0])["created"] == 1_000_000
    assert mind.decide(asked()).status == 429
    clock.sleep(1.0)
    last = mind.decide(asked())
    assert (last.status, last.record.offset) == (200, 1.0)


def test_changed_limits_begin_afresh_and_what_is_under_way_counts_on():
    mind = decider(FakeClock(1_000_000.0), limits=Limits(rps=1, max_in_flight=5))
    decisions = [mind.decide(asked())]
    assert mind.decide(asked()).status == 429
    mind.change(replace(mind.settings, limits=Limits(rps=100, max_in_flight=1)))
    assert mind.decide(asked()).status == 429  # one is under way still
    for decision in decisions:
        mind.ended(decision, delivered=True)
    assert mind.decide(asked()).status == 200
    mind.change(replace(mind.settings, latency=1.0))
    assert mind.decide(asked()).status == 429  # limits that did not change go on


def test_what_was_refused_is_not_under_way():
    mind = decider(FakeClock(1_000_000.0), limits=Limits(max_in_flight=1))
    for _ in range(3):
        bad = mind.decide(asked(temperature="hot"))
        mind.ended(bad, delivered=True)
    taken, refused = mind.decide(asked()), mind.decide(asked())
    assert (taken.status, refused.status) == (200, 429)
    mind.ended(refused, delivered=True)
    assert mind.decide(asked()).status == 429
    mind.ended(taken, delivered=True)
    assert mind.decide(asked()).status == 200


@pytest.mark.parametrize("place", ["Attempts.next", "answers", "_parts"])
def test_a_request_that_the_simulator_itself_breaks_at_is_counted_and_gives_its_place_back(
    monkeypatch, caplog, place
):
    mind = decider(
        FakeClock(1_000_000.0), limits=Limits(max_in_flight=1), price=Price(1, 1), bill_errors=True
    )

    def broken(*_, **__):
        raise ZeroDivisionError("by nothing")

    with monkeypatch.context() as patched:
        patched.setattr(f"skill_fleet.simulator.deciding.{place}", broken)
        for attempt in range(2):
            decision = mind.decide(asked())
            assert decision.status == 500
            error = json.loads(decision.parts[0])["error"]
            assert error["type"] == "simulator_bug"
            assert "ZeroDivisionError: by nothing" in error["message"]
            mind.ended(decision, delivered=True)
            record = decision.record
            assert (record.fault, record.status, record.billed) == ("bug", 500, False)
            assert record.attempt == (None if place == "Attempts.next" else attempt)
    assert "ZeroDivisionError" in caplog.text
    assert mind.decide(asked()).status == 200
    totals = mind.ledger.totals()
    assert (totals.requests, totals.by_fault, totals.answered) == (3, {"bug": 2}, 1)


def test_a_server_that_died_and_one_that_is_to_end_take_no_more_requests():
    for ends in ({"die_after": 2, "max_requests": 5}, {"die_after": 5, "max_requests": 2}):
        mind = decider(**ends)
        fates = [mind.decide(asked()).record.fault for _ in range(4)]
        assert fates == [None, None, "died", "died"]
        bad = mind.decide(asked(temperature="hot"))
        assert (bad.manner, bad.record.fault) == ("reset", "died"), "neither what it could not have read"


def test_who_comes_when_it_was_told_to_is_let_in():
    clock = FakeClock(1_000_000.0)
    mind = decider(clock, limits=Limits(rps=3, burst=1))
    assert mind.decide(asked()).status == 200
    refused = mind.decide(asked())
    told = dict(refused.headers)
    assert (told["retry-after"], told["retry-after-ms"]) == ("1", "334")
    assert b"Try again in 0.334s." in refused.parts[0]
    clock.sleep(int(told["retry-after-ms"]) / 1000)
    assert mind.decide(asked()).status == 200


def test_the_tokens_of_answers_count_against_the_tokens_of_a_minute():
    clock = FakeClock(1_000_000.0)
    rule = Rule(re.compile(""), answer="x" * 800)  # 200 tokens
    mind = decider(clock, limits=Limits(tpm=120), script=(rule,))
    assert mind.decide(asked()).status == 200
    refused = mind.decide(asked())
    assert refused.status == 429
    assert json.loads(refused.parts[0])["error"]["type"] == "tokens"
    clock.sleep(39)  # the bucket has 2 tokens a second, and is overdrawn by 82 where two are asked for
    assert mind.decide(asked()).status == 429
    clock.sleep(3)
    assert mind.decide(asked()).status == 200


def test_a_stream_is_billed_as_a_whole_answer_is():
    bills = []
    for stream in (False, True):
        record = decider(price=Price(1, 1)).decide(asked(stream=stream)).record
        bills.append((record.billed_prompt_tokens, record.billed_completion_tokens, record.usd))
    assert bills[0] == bills[1]
    assert bills[0][2] == (bills[0][0] + bills[0][1]) / 1e6
