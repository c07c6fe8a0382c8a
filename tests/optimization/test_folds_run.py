"""`--folds`: small data, one search on all of it and one without each fold, as one run."""

import json
import random
import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass

import pytest
from kill_harness import Case, stand

from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.domain.trainset import load_trainset
from skill_fleet.foundation.errors import DataError, UsageError
from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.advice.small_data import data_warnings
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control

LABELED = {"optimizer": "labeled_few_shot", "trials": 2, "rounds": 1, "data": "few.json", "folds": 3}


def few(groups=12, each=3):
    """So many tickets of so many groups."""
    import triage

    taken = Counter()
    for ticket in triage.tickets():
        if taken[ticket["group"]] < each:
            taken[ticket["group"]] += 1
            if sorted(taken).index(ticket["group"]) < groups and len(taken) <= groups:
                yield ticket


def small(place, **options):
    """A request for folds over 36 tickets in 12 groups."""
    (place.root / "few.json").write_text(json.dumps(list(few())))
    return place.request(**{**LABELED, **options})


def paid_twice(place):
    with sqlite3.connect(place.loaded.workspace.ledger) as db:
        return db.execute(
            "select key from attempt where state='settled' group by run, key having count(*) > 1"
        ).fetchall()


@pytest.fixture(scope="module")
def whole(kept_place):
    """A finished run of 3 folds, and its place."""
    place = kept_place("folds")
    return place, place.optimize(small(place)).result


def test_every_example_is_tested_once_by_programs_that_never_saw_it(whole):
    place, result = whole
    plan = make_plan(small(place), place.loaded)
    everything = sorted(item.id for item in load_trainset(place.root / "few.json").items)
    assert sorted(item.id for split in plan.folds for item in split.test) == everything
    for split in plan.folds:
        held = {item.group for item in split.test}
        assert held.isdisjoint(item.group for item in (*split.train, *split.validation))
        assert {item.id for item in plan.of_fold(split).split.test} == {item.id for item in split.test}
    assert plan.split.test == ()
    assert [fold["examples"] for fold in result.folds["per_fold"]] == [len(s.test) for s in plan.folds]


def test_the_verdict_is_of_all_folds_and_says_how_it_was_reached(whole):
    _, result = whole
    folds = result.folds
    assert (folds["k"], folds["repeats"]) == (3, 1)
    assert [(fold["repeat"], fold["fold"]) for fold in folds["per_fold"]] == [(1, 1), (1, 2), (1, 3)]
    assert result.method == "corrected resampled t over groups (Nadeau-Bengio), 1 x 3 folds"
    assert result.verdict == "better"
    low, high = result.interval
    assert 0 < low < folds["held_out_gain"] <= high
    assert folds["interval"] == result.interval
    sizes = [fold["examples"] for fold in folds["per_fold"]]
    mean = sum(f["gain"] * n for f, n in zip(folds["per_fold"], sizes, strict=True)) / sum(sizes)
    assert folds["held_out_gain"] == pytest.approx(mean)
    assert result.optimized["test"] - result.baseline["test"] == pytest.approx(mean)
    assert result.accuracy["optimized"] == pytest.approx(result.optimized["test"]), "pass or fail"
    assert result.selection["test_gain"] == pytest.approx(mean)
    assert result.examples["test"] == 0
    assert result.test_reads == 1


def test_the_program_is_that_of_a_search_on_all_examples(whole):
    place, result = whole
    assert result.published == "candidate"
    found = load_artifact(place.root / result.artifact, search=place.root)
    assert found.manifest.run_id == result.run_id
    shown = {demo["ticket"] for _, p in found.program.named_predictors() for demo in p.demos}
    plan = make_plan(small(place), place.loaded)
    assert shown
    assert shown <= {item.fields["ticket"] for item in plan.split.train}
    assert result.calls["made"] <= sum(line["most"] for line in result.estimate["by_phase"].values())


def test_threads_decide_nothing_and_the_same_again_costs_nothing_and_reads_nothing(whole, places):
    place, result = whole
    single = places("single")
    assert single.optimize(small(single, num_threads=1)).result.folds == result.folds
    again = place.optimize(small(place, output="again.json")).result
    assert again.calls["made"] == 0
    assert (again.folds, again.program_hash) == (result.folds, result.program_hash)
    assert again.test_reads == 1


@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
def test_a_cap_in_any_fold_leaves_the_program_without_a_verdict_and_the_resume_ends_identical(
    whole, places, share
):
    _, result = whole
    place = places("capped")
    cap = int(result.calls["made"] * share)
    done = place.optimize(small(place, limits=Limits(calls=cap)))
    assert (done.result.status, done.result.stop_reason) == ("stopped", "budget")
    assert done.result.calls["made"] <= cap
    assert (done.result.verdict, done.result.interval, done.result.test_reads) == ("not_shown", None, None)
    assert done.result.published == "baseline"
    assert len(done.result.folds["per_fold"]) < 3
    assert done.result.folds["held_out_gain"] is None
    assert done.result.baseline["test"] is None
    assert find_run(place.loaded.workspace.runs, done.result.run_id).candidate.exists()
    finished = place.resume(done.result.run_id, small(place)).result
    assert (finished.status, finished.folds) == ("succeeded", result.folds)
    assert finished.program_hash == result.program_hash
    assert finished.calls["made"] == result.calls["made"]
    assert paid_twice(place) == []


def test_an_interrupt_in_a_fold_keeps_the_program_and_publishes_nothing(whole, places):
    place, control = places("stopped"), Control()

    def press(event):
        if event.kind == "fold":
            control.interrupt()

    done = place.optimize(small(place), listener=press, control=control)
    assert (done.result.status, done.result.stop_reason) == ("stopped", "interrupted")
    assert len(done.result.folds["per_fold"]) == 1
    assert done.result.published is None
    assert not (place.root / "labeled_few_shot.json").exists()
    assert done.result.program_hash == whole[1].program_hash
    assert place.resume(done.result.run_id, small(place)).result.folds == whole[1].folds


def test_what_is_published_is_kept_and_the_way_to_replace_it_named(places):
    place = places("incumbent")
    other = small(place, optimizer="bootstrap_few_shot", output="out.json")
    first = place.optimize(other).result
    assert first.published == "candidate"
    second = place.optimize(small(place, output="out.json")).result
    assert (second.verdict, second.published) == ("better", "incumbent")
    warning = next(w for w in second.warnings if w["code"] == "incumbent_kept")
    assert warning["message"].endswith(f"skill-fleet artifacts promote {second.run_id}")
    assert load_artifact(place.root / "out.json", search=place.root).manifest.run_id == first.run_id
    again = place.optimize(other).result
    assert "incumbent_kept" not in {w["code"] for w in again.warnings}, "it is the same program"


def test_a_plain_program_at_the_output_is_replaced_by_a_better_one(places):
    place = places("plain")
    assert place.optimize(small(place, optimizer="copro", output="out.json")).result.published == "baseline"
    assert place.optimize(small(place, output="out.json")).result.published == "candidate"


def test_nothing_found_is_not_tested_fold_by_fold(places):
    place = places("nothing")
    result = place.optimize(small(place, optimizer="copro")).result
    assert (result.status, result.verdict, result.published) == ("succeeded", "not_shown", "baseline")
    assert "no_accepted_proposal" in {warning["code"] for warning in result.warnings}
    assert result.folds is None
    assert result.test_reads is None


def test_a_fold_that_holds_all_of_the_signal_gains_nothing(places):
    place = places("signal")
    data = list(few())
    group = data[0]["group"]
    (place.root / "one_group.py").write_text(
        "import triage\n"
        f"TICKETS = {[t['ticket'] for t in data if t['group'] == group]!r}\n\n\n"
        "def metric(gold, pred, trace=None):\n"
        "    return triage.exact(gold, pred).score if gold.ticket in TICKETS else 0.0\n"
    )
    result = place.optimize(small(place, metric="one_group:metric", seed=1)).result
    if result.folds is None:
        pytest.fail("the search on all examples found nothing; choose another seed")
    blind = [fold for fold in result.folds["per_fold"] if fold["validation_gain"] is None]
    assert [fold["gain"] for fold in blind] == [0.0]


def test_examples_that_fail_when_held_out_are_in_no_mean(places):
    from dspy.utils.exceptions import LMInvalidRequestError

    class Refusing:
        def __init__(self, inner):
            self.inner = inner

        def complete(self, request):
            text = "\n".join(message.text or "" for message in request.messages)
            asked = text.rsplit("[[ ## ticket ## ]]", 1)[-1]
            if "[[ ## ticket ## ]]" in text and "invoice from last week" in asked:
                raise LMInvalidRequestError("This content is not allowed.")
            return self.inner.complete(request)

        async def acomplete(self, request):
            return self.complete(request)

    place = places("refusing")
    result = place.optimize(small(place), wrap=Refusing).result
    assert result.status == "succeeded"
    assert sum(fold["examples"] for fold in result.folds["per_fold"]) == 35
    assert "examples_excluded" in {warning["code"] for warning in result.warnings}
    assert result.calls["excluded"] == 1


def test_events_of_a_fold_say_so_and_the_run_tells_its_power_once(whole):
    place, result = whole
    events = list(read_events(find_run(place.loaded.workspace.runs, result.run_id).events))
    assert [event["fold"] for event in events if event["kind"] == "fold"] == [1, 2, 3]
    assert all(event["folds"] == 3 for event in events if "fold" in event)
    powers = [event for event in events if event["kind"] == "power"]
    assert [(event["groups"], event["folds"]) for event in powers] == [(12, 3)]
    assert sum(event["kind"] == "baseline" and "fold" not in event for event in events) == 1


def test_the_price_counts_every_search(whole):
    place, _ = whole
    plans = {k: make_plan(small(place, folds=k), place.loaded) for k in (None, 3, 6)}
    from skill_fleet.optimization.estimates.estimate import estimate

    calls = {k: estimate(plan)["calls"] for k, plan in plans.items()}
    assert calls[None][1] < calls[3][1] < calls[6][1]
    assert calls[3][0] < calls[6][0]
    twice = estimate(make_plan(small(place, repeats=2), place.loaded))["calls"]
    assert calls[3][1] < twice[1] < 2.1 * calls[3][1]


def test_a_test_that_can_show_nothing_names_the_folds_and_their_price(whole):
    place, _ = whole
    said = [message for _, message in data_warnings(make_plan(small(place, folds=None), place.loaded))]
    assert said[0] == "The sealed test has 18 examples; 70 are advised."
    assert said[1].startswith(
        "The sealed test has 6 independent groups: fewer than 7 cannot show a difference."
    )
    assert "--folds 5 tests all 36 examples, for about " in said[1]
    folded = make_plan(small(place), place.loaded)
    assert list(data_warnings(folded)) == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"folds": 1}, UsageError, "--folds must be at least 2"),
        ({"folds": None, "repeats": 2}, UsageError, "it needs --folds"),
        ({"holdout": ("billing",)}, UsageError, "--folds tests every example"),
        ({"test_data": "few.json"}, UsageError, "--folds tests every example"),
        ({"min_groups": 13}, DataError, "at least 13 are needed"),
        ({"folds": 13}, DataError, "at least 13 are needed"),
    ],
    ids=["one fold", "repeats alone", "holdout", "test data", "groups", "folds"],
)
def test_what_cannot_be_folded_is_refused_before_anything_is_spent(place, options, error, words):
    with pytest.raises(error, match=words):
        make_plan(small(place, **options), place.loaded)


def test_under_ten_groups_are_refused_unless_told(place):
    request = small(place)
    (place.root / "few.json").write_text(json.dumps(list(few(groups=8))))
    with pytest.raises(DataError, match="8 independent groups"):
        make_plan(request, place.loaded)
    assert len(make_plan(small_of(place, 8, min_groups=8), place.loaded).folds) == 3


def small_of(place, groups, **options):
    request = small(place, **options)
    (place.root / "few.json").write_text(json.dumps(list(few(groups=groups))))
    return request


@dataclass(frozen=True)
class Folded(Case):
    """A run with folds, to be killed."""

    def words(self):
        return [*super().words(), "--folds", "2", "--rounds", "1"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_killed_in_any_fold_is_resumed_without_paying_twice(tmp_path):
    case, rng = Folded("labeled_few_shot", 8), random.Random(0)
    with stand() as both:
        whole = both.uninterrupted(case, tmp_path / "whole")
        for tried in range(2):
            found = both.stopped(case, tmp_path / str(tried), whole.moment(rng, by_time=False))
            if found is not None:
                assert found.code == -signal.SIGKILL
                assert found.faults(whole, case.threads) == []
