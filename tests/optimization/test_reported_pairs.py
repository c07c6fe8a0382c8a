"""What is reported of two programs is of the same examples, and a metric does not choose which those are."""

import json
import math
import sys

import pytest
from dspy.utils.exceptions import LMTimeoutError

from skill_fleet.foundation.errors import MetricError
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.optimization import run as whole_run
from skill_fleet.optimization.ending import sealed
from skill_fleet.optimization.planning.plan import make_plan

LEARNT = "If the ticket mentions"


def mean(values):
    return math.fsum(values) / len(values)


class Filtered:
    """A model that withholds its answer about some tickets where `when` says so."""

    def __init__(self, inner, tickets, when):
        self.inner = inner
        self.tickets = tickets
        self.when = when

    def complete(self, request):
        asked = (request.messages[-1].text or "").partition("[[ ## ticket ## ]]")[2]
        if self.when(request) and any(ticket in asked for ticket in self.tickets):
            raise UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
        return self.inner.complete(request)

    async def acomplete(self, request):
        return self.complete(request)


def learnt(request):
    """Whether it is the optimized program that asks."""
    return LEARNT in str(request.system) or len(request.messages) > 1


def filtering(tickets, when=learnt):
    return lambda inner: Filtered(inner, tickets, when)


def searched(place, **options):
    return place.request("gepa", num_threads=1, rounds=1, **options)


def noting_into(seen):
    """`judge`, noting the measurements that it compares."""
    judge = sealed.judge
    return lambda a, b, **how: seen.append((a, b)) or judge(a, b, **how)


@pytest.fixture
def judged(monkeypatch):
    """The measurements of each comparison on a sealed test, as they were made."""
    seen = []
    monkeypatch.setattr(sealed, "judge", noting_into(seen))
    return seen


@pytest.fixture(scope="module")
def undisturbed(kept_place):
    """Scores of the optimized program on the sealed test, by the ticket."""
    place, seen = kept_place("undisturbed"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed, "judge", noting_into(seen))
        place.optimize(searched(place))
    test = make_plan(searched(place), place.loaded).split.test
    tickets = {item.id: item.fields["ticket"] for item in test}
    return {tickets[item]: score for item, score in seen[0][1].scores().items()}


@pytest.mark.parametrize("score", [0.0, 1.0], ids=["hard ones", "easy ones"])
def test_what_is_withheld_from_one_program_counts_for_none(places, judged, undisturbed, score):
    tickets = [ticket for ticket, found in undisturbed.items() if found == score][:8]
    assert len(tickets) == 8
    place = places("filtered")
    result = place.optimize(searched(place), wrap=filtering(tickets)).result
    plain, found = judged[-1]
    both = plain.scores().keys() & found.scores().keys()
    assert (len(plain.scores()), len(both)) == (len(plain.outcomes), len(plain.outcomes) - 8)
    before, after = (mean([one.scores()[item] for item in both]) for one in (plain, found))
    assert plain.mean != pytest.approx(before), "the eight would have made a difference"
    assert result.status == "succeeded"
    assert (result.baseline["test"], result.optimized["test"]) == pytest.approx((before, after))
    shares = (result.accuracy["baseline"], result.accuracy["optimized"])
    assert shares == pytest.approx((before, after)), "pass or fail"
    assert result.selection["test_gain"] == pytest.approx(after - before)
    assert result.interval[0] <= after - before <= result.interval[1]
    assert result.calls["excluded"] == 8
    assert "8 test examples of the optimized program have no score: they count for none." in {
        warning["message"] for warning in result.warnings
    }


def test_means_on_validation_are_of_what_is_left_of_it(places, monkeypatch):
    """One of its examples is set aside in the search, and is in no mean of the result."""
    seen = []
    note = whole_run.note_choice
    monkeypatch.setattr(
        whole_run, "note_choice", lambda s, b, best, pool: seen.append((b, best)) or note(s, b, best, pool)
    )
    place = places("validation")
    item = make_plan(searched(place), place.loaded).split.validation[0]
    result = place.optimize(searched(place), wrap=filtering([item.fields["ticket"]])).result
    assert (result.status, result.calls["excluded"]) == ("succeeded", 1)
    baseline, best = seen[0]
    left = {name: score for name, score in baseline.measured.scores().items() if name != item.id}
    assert len(left) == len(baseline.measured.outcomes) - 1
    before = mean(list(left.values()))
    assert result.baseline["validation"] == pytest.approx(before) != pytest.approx(baseline.measured.mean)
    assert best.measured.scores().keys() == left.keys()
    assert result.selection["validation_gain"] == pytest.approx(
        best.measured.mean - mean(list(left.values()))
    )


def test_a_metric_that_breaks_on_wrong_answers_of_the_test_is_refused(places, undisturbed):
    hard = [ticket for ticket, score in undisturbed.items() if score == 0.0]
    place = places("breaking")
    (place.root / "breaks_on_test.py").write_text(
        "import triage\n"
        f"HARD = {hard!r}\n\n\n"
        "def metric(gold, pred, trace=None, pred_name=None, pred_trace=None):\n"
        "    found = triage.exact(gold, pred)\n"
        "    if not found.score and gold.ticket in HARD:\n"
        "        raise ValueError('cannot read this answer')\n"
        "    return found\n"
    )
    done = place.optimize(searched(place, metric="breaks_on_test:metric"))
    assert isinstance(done.error, MetricError)
    assert "cannot read this answer" in done.error.message
    assert (done.result.status, done.result.verdict) == ("failed", "not_shown")
    assert done.result.optimized["test"] is None


class Stage:
    """Which stage a run is in, told by its events."""

    def __init__(self):
        self.now = None
        self.fold = None

    def __call__(self, event):
        if event.kind == "progress":
            self.now, self.fold = event.data.get("stage"), event.data.get("fold")

    @property
    def searching_a_fold(self):
        return self.now == "search" and self.fold is not None


def folded(place, **options):
    """A request for 3 folds over 36 tickets in 12 groups, and the tickets."""
    import triage

    taken = {}
    for ticket in triage.tickets():
        taken.setdefault(ticket["group"], []).append(ticket)
    few = [ticket for group in sorted(taken)[:12] for ticket in taken[group][:3]]
    (place.root / "few.json").write_text(json.dumps(few))
    defaults = {"trials": 2, "rounds": 1, "data": "few.json", "folds": 3, "num_threads": 1}
    return place.request("labeled_few_shot", **{**defaults, **options}), [one["ticket"] for one in few]


def test_a_metric_that_breaks_on_what_is_held_out_is_refused(places, monkeypatch):
    place, stage = places("held_out"), Stage()
    monkeypatch.setitem(sys.modules, "stage_of_the_run", stage)
    request, tickets = folded(place, metric="breaks_held_out:metric")
    (place.root / "breaks_held_out.py").write_text(
        f"import stage_of_the_run as stage\nimport triage\n\nTICKETS = {tickets[::3]!r}\n\n\n"
        "def metric(gold, pred, trace=None):\n"
        "    right = triage.exact(gold, pred).score\n"
        "    readable = right or stage.now != 'held out' or gold.ticket not in TICKETS\n"
        "    return right if readable else None\n"
    )
    done = place.optimize(request, listener=stage)
    assert isinstance(done.error, MetricError)
    assert (done.result.status, done.result.verdict) == ("failed", "not_shown")


def test_a_fold_whose_search_was_stopped_is_not_done(places):
    """The provider is away in the search and back when the fold would be measured."""
    place, stage = places("away"), Stage()

    class Away(Filtered):
        def complete(self, request):
            if stage.searching_a_fold:
                raise LMTimeoutError("no answer in 60 s")
            return self.inner.complete(request)

    request, tickets = folded(place)
    result = place.optimize(request, listener=stage, wrap=lambda inner: Away(inner, [], None)).result
    assert (result.status, result.stop_reason) == ("stopped", "provider")
    assert result.folds["per_fold"] == []
    finished = place.resume(result.run_id, request).result
    assert (finished.status, len(finished.folds["per_fold"])) == ("succeeded", 3)
    assert len(tickets) == sum(fold["examples"] for fold in finished.folds["per_fold"])


def test_what_the_search_of_a_fold_set_aside_is_counted(places):
    place, stage = places("aside"), Stage()
    request, tickets = folded(place)
    # Only in the searches of folds: whenever it is held out it has its score.
    done = place.optimize(
        request, listener=stage, wrap=filtering(tickets[:1], lambda _: stage.searching_a_fold)
    )
    assert done.result.status == "succeeded"
    assert sum(fold["examples"] for fold in done.result.folds["per_fold"]) == 36
    assert done.result.calls["excluded"] == 1
