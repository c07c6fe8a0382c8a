"""What will be seen, said before the search; what was estimated, beside what it took; what was left out."""

import json
import math
import statistics

import pytest
from dspy.utils.exceptions import LMInvalidRequestError

from skill_fleet.evaluation.measurement import Measurement, Outcome
from skill_fleet.evaluation.power import expected_detectable_effect
from skill_fleet.evaluation.score import Score
from skill_fleet.evaluation.sign_flip import attainable_alpha
from skill_fleet.evaluation.statistics import alpha_for_read, compare_paired
from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.readings import FileReadings, readings_of
from skill_fleet.optimization.conclusions.foresight import ASSUMED_SD, foresee, spread
from skill_fleet.optimization.conclusions.verdict import digest_of_test
from skill_fleet.optimization.ending.report import render_report
from skill_fleet.optimization.estimates.estimate import estimate
from skill_fleet.optimization.estimates.price_check import price_checks
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.services.context import Context
from skill_fleet.services.optimization import estimate_optimization, prepare_optimization


def test_the_effect_is_that_of_groups_whatever_their_size():
    alone = expected_detectable_effect(0.15, [1] * 20, alpha=0.03)
    assert expected_detectable_effect(0.15, [3] * 20, alpha=0.03) == alone
    assert expected_detectable_effect(0.3, [1] * 20, alpha=0.03) == pytest.approx(2 * alone)
    normal_theory = (2.17 + 0.842) * 0.15 / math.sqrt(20)
    assert normal_theory < alone < 1.25 * normal_theory


def test_more_groups_see_more_and_a_large_one_sees_less():
    few = expected_detectable_effect(0.15, [2] * 10)
    many = expected_detectable_effect(0.15, [2] * 40)
    uneven = expected_detectable_effect(0.15, [2] * 39 + [100])
    assert many < few
    assert many < uneven


@pytest.mark.parametrize(
    ("sd", "sizes", "alpha"),
    [(0.15, [], 0.05), (0.15, [5], 0.05), (0.0, [1] * 20, 0.05), (0.15, [1] * 20, 0.0), (0.9, [1, 1], 0.05)],
)
def test_nothing_is_said_where_nothing_can_be(sd, sizes, alpha):
    assert expected_detectable_effect(sd, sizes, alpha=alpha) is None


@pytest.mark.parametrize(("groups", "shown"), [(5, False), (6, False), (7, True), (16, True), (30, True)])
def test_few_groups_attain_no_level_exactly_where_a_comparison_shows_nothing(groups, shown):
    alpha = alpha_for_read(1)
    level = attainable_alpha(alpha, groups)
    assert (level > 0) == shown
    assert level <= alpha
    scores = [0.3 + 0.01 * (number % 7) for number in range(groups)]
    found = compare_paired([0.1] * groups, scores, [str(n) for n in range(groups)], alpha=alpha)
    assert (found.verdict == "better") == shown


def measurement(scores, groups=None):
    found = [None if value is None else Score(value) for value in scores]
    names = groups or [str(n) for n in range(len(found))]
    return Measurement(tuple(Outcome(str(n), names[n], one, None, 0.0) for n, one in enumerate(found)))


def test_the_spread_of_differences_is_that_of_two_independent_scores():
    assert spread(measurement([0.2, 0.4, None])) == pytest.approx(math.sqrt(2) * math.sqrt(0.02))
    assert spread(measurement([0.2, None])) is None
    assert spread(measurement([0.2, 0.4], "gg")) is None, "one group shows nothing"


def test_the_spread_is_that_of_group_means_and_never_less_than_luck_would_leave():
    differing = measurement([0.1, 0.3, 0.7, 0.9], "aabb")
    assert spread(differing) == pytest.approx(math.sqrt(2) * statistics.stdev([0.2, 0.8]))
    alike = measurement([0.0, 1.0, 1.0, 0.0], "aabb")
    assert spread(alike) == pytest.approx(math.sqrt(2) * statistics.stdev([0, 1, 1, 0]) / math.sqrt(2))


def test_the_next_reading_is_counted_and_not_noted(place):
    ledger = place.loaded.workspace.ledger
    readings = FileReadings(ledger)
    assert readings.next("t") == 1
    assert not ledger.exists()
    ledger.parent.mkdir()
    readings.count("t", "one")
    assert [readings.next("t"), readings.next("t"), readings.next("u")] == [2, 2, 1]
    ledger.write_bytes(b"no database at all, but long enough to be read as one" * 30)
    with pytest.raises(StorageError):
        readings.next("t")


def test_an_estimate_assumes_a_spread_and_says_which_reading_it_would_be(place):
    request = place.request()
    plan = make_plan(request, place.loaded)
    first = estimate(plan)["power"]
    assert (first["sd"], first["reading"]) == (ASSUMED_SD, 1)
    assert first["groups"] == len({item.group for item in plan.split.test})
    context = Context(place.loaded)
    assert estimate_optimization(prepare_optimization(context, request))["power"] == first
    place.loaded.workspace.state.mkdir()
    readings_of(place.loaded).count(digest_of_test(plan.split.test), "somebody")
    second = estimate_optimization(prepare_optimization(context, request))["power"]
    assert second["reading"] == 2
    assert second["alpha"] == alpha_for_read(2)
    assert first["effect"] > 0
    assert second["effect"] is None, "8 groups show nothing at the second reading"


def test_a_run_says_after_the_baseline_what_will_be_seen(place):
    result = place.optimize(place.request(rounds=1)).result
    folder = find_run(place.loaded.workspace.runs, result.run_id)
    events = list(read_events(folder.events))
    kinds = [event["kind"] for event in events]
    assert kinds.index("baseline") < kinds.index("power") < kinds.index("round")
    told = events[kinds.index("power")]
    plan = make_plan(place.request(rounds=1), place.loaded)
    assert told["effect"] == foresee(plan.split.test, 1, told["sd"]).effect
    assert result.expected_minimum_detectable_effect == told["effect"] > 0
    assert json.loads(folder.result.read_text())["expected_minimum_detectable_effect"] == told["effect"]
    # The same again over the finished run: it keeps the number of its reading.
    again = place.resume(result.run_id, place.request(rounds=1)).result
    assert again.expected_minimum_detectable_effect == told["effect"]


def result_of(**more):
    return {
        "estimate": {"calls": [10, 20], "tokens": [100, 200], "usd": [0.01, 0.02], "minutes": [0.5, 1.0]},
        "status": "succeeded",
        "calls": {"made": 15},
        "tokens": {"input": 100, "output": 50},
        "usd": 0.015,
        "seconds": 45.0,
        **more,
    }


def outside(**more):
    return {check.measure: check.outside for check in price_checks(result_of(**more)) if check.outside}


def test_what_lay_outside_of_the_estimate_is_named():
    assert outside() == {}
    assert outside(calls={"made": 21}, seconds=61.0) == {"calls": "above", "minutes": "above"}
    assert outside(tokens={"input": 1, "output": 1}, usd=0.001) == {"tokens": "below", "usd": "below"}
    assert outside(status="stopped", calls={"made": 3}, tokens={"input": 300}) == {"tokens": "above"}


def test_below_the_estimate_for_answers_paid_earlier_is_said_to_be_so():
    def remark(reused, made):
        found = price_checks(result_of(calls={"made": made, "reused": reused}))
        return next(check.remark for check in found if check.measure == "calls")

    assert remark(0, 5) == "below the estimate"
    assert remark(4, 5) == "below the estimate", "nor would it have reached 10 without them"
    assert remark(5, 5) == "below the estimate: answers paid earlier"
    assert remark(1, 0) == "below the estimate: answers paid earlier"
    assert remark(3, 15) == ""
    assert remark(3, 25) == "above the estimate"


def test_the_ends_belong_to_the_estimate_as_they_are_rounded():
    assert outside(calls={"made": 20}, usd=0.020049, seconds=60.2) == {}
    assert outside(calls={"made": 10}, usd=0.00996, seconds=29.9) == {}


def test_unknown_is_neither_inside_nor_outside():
    unknown = result_of(usd=None, estimate={**result_of()["estimate"], "usd": None})
    [usd] = [check for check in price_checks(unknown) if check.measure == "usd"]
    assert (usd.expected, usd.actual, usd.outside) == (None, None, None)
    assert price_checks(result_of(estimate=None)) == []


def test_a_bill_of_which_only_the_ends_are_known_shows_them():
    for ends, side, shown in (
        ([0.01, 0.03], None, (0.01, 0.03)),
        ([0.001, 0.002], "below", (0.001, 0.002)),
        ([0.03, 0.04], "above", (0.03, 0.04)),
        ([0.03, None], "above", (0.03, math.inf)),
        ([0.001, None], None, (0.001, math.inf)),
        ([0.0, None], None, None),
    ):
        result = result_of(usd=None, usd_range=ends)
        [usd] = [check for check in price_checks(result) if check.measure == "usd"]
        assert (usd.actual, usd.outside, usd.took) == (None, side, shown)


def test_tokens_that_nobody_counted_are_not_none():
    def tokens(ends):
        result = result_of(tokens_range=ends)
        [check] = [check for check in price_checks(result) if check.measure == "tokens"]
        return check.actual, check.took, check.outside

    assert tokens([150, 150]) == (150, (150,), None)
    assert tokens([150, 900]) == (None, (150, 900), None)
    assert tokens([201, 900]) == (None, (201, 900), "above")
    assert tokens([10, None]) == (None, (10, math.inf), None)
    assert tokens([0, None]) == (None, None, None)


def test_the_report_has_price_and_truth_beside_each_other(place):
    result = place.optimize(place.request(rounds=1)).result
    value = result.to_json()
    low, high = value["estimate"]["calls"]
    report = render_report(value)
    assert f"| calls | {low:,} to {high:,} | {value['calls']['made']:,} |  |" in report
    value["calls"]["made"] = high + 1
    assert f"| calls | {low:,} to {high:,} | {high + 1:,} | above the estimate |" in render_report(value)
    assert "| usd | 0.0000 to 0.0000 | 0.0000 |  |" in report
    value |= {"usd": None, "usd_range": [0.5, 1.25]}
    assert "| usd | 0.0000 to 0.0000 | 0.5000 to 1.2500 | above the estimate |" in render_report(value)
    value |= {"usd_range": [0.5, None], "tokens_range": [0, None]}
    report = render_report(value)
    assert "| at least 0.5000 | above the estimate |" in report
    assert ", unknown tokens, at least $0.5000," in report
    assert "| tokens |" in report
    assert "| unknown |  |" in report
    by_phase = value["by_phase"]["evaluation"]
    by_phase["tokens_unknown_calls"] = 1
    assert f"at least {by_phase['tokens']:,} |" in render_report(value)
    by_phase["tokens"] = 0
    assert "| unknown |" in next(one for one in render_report(value).splitlines() if "| evaluation |" in one)


class Refusing:
    """The offline model, which answers nothing that names one of these."""

    def __init__(self, inner, lost):
        self.inner = inner
        self.lost = lost

    def complete(self, request):
        said = "\n".join(message.text or "" for message in request.messages)
        if any(text in said for text in self.lost):
            raise LMInvalidRequestError("This content is not allowed.")
        return self.inner.complete(request)

    async def acomplete(self, request):
        return self.complete(request)


def test_excluded_counts_examples_and_each_once(place):
    split = make_plan(place.request(rounds=1), place.loaded).split
    lost = [item.fields["ticket"] for item in (*split.train[5:7], split.test[3])]
    done = place.optimize(place.request(rounds=1), wrap=lambda inner: Refusing(inner, lost))
    assert done.result.status == "succeeded"
    assert done.result.published == "candidate"
    assert done.result.calls["excluded"] == 3
    assert place.optimize(place.request(rounds=1)).result.calls["excluded"] == 0
