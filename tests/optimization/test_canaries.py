"""A metric that can be had without an answer is named; one that reads the answer is not."""

import json

import honesty_attacks as attacks
import pytest


def warned(done):
    return [one["message"] for one in done.result.warnings if one["code"] == "metric_gamed"]


def test_a_metric_that_pays_for_a_magic_word_is_named():
    done = attacks.lying_metric("hostile:magic", program="hostile:Reply")
    assert done.result.verdict == "better", "the metric is the user's: nothing else says what is good"
    found = warned(done)
    assert any("nothing but the words of the program's instructions 1.00" in message for message in found)
    assert any("words in another order" in message for message in found)


def test_a_metric_that_takes_a_list_of_all_answers_is_named():
    done = attacks.lying_metric("hostile:mentions")
    assert "nothing but the words of the program's instructions" in warned(done)[0]


@pytest.mark.parametrize("optimizer", ["gepa", "bootstrap_random_search"])
def test_a_metric_that_reads_the_answer_is_not(optimizer):
    assert warned(attacks.lying_metric("triage:exact", optimizer=optimizer)) == []


def test_trying_the_metric_pays_for_no_answer(place):
    done = place.optimize(place.request(rounds=1))
    assert done.result.published == "candidate"
    again = place.resume(done.result.run_id, place.request(rounds=1))
    assert again.result.calls["made"] == done.result.calls["made"]
    keys = json.dumps(again.result.warnings)
    assert keys == json.dumps(done.result.warnings)
