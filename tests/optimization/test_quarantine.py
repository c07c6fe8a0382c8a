"""Examples that fail for good in the middle of a search, on the offline model behind a content filter."""

import json

import pytest

from skill_fleet.config.load import load
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.foundation.errors import DataError, ProviderError
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control

OPTIMIZERS = ("gepa", "miprov2", "bootstrap_random_search")


class Refusing:
    """A model that withholds every answer about some tickets, from the first."""

    def __init__(self, inner, tickets):
        self.inner = inner
        self.tickets = tickets

    def complete(self, request):
        asked = (request.messages[-1].text or "").partition("[[ ## ticket ## ]]")[2]
        if any(ticket in asked for ticket in self.tickets):
            raise UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
        return self.inner.complete(request)


def refusing(items):
    return lambda inner: Refusing(inner, [item.fields["ticket"] for item in items])


class Filtered:
    """A model that withholds its answer about some tickets, as soon as the program is not the plain one."""

    def __init__(self, inner, tickets):
        self.inner = inner
        self.tickets = tickets
        self.withheld = 0

    def complete(self, request):
        asked = (request.messages[-1].text or "").partition("[[ ## ticket ## ]]")[2]
        plain = "If the ticket mentions" not in str(request.system) and len(request.messages) == 1
        if not plain and any(ticket in asked for ticket in self.tickets):
            self.withheld += 1
            raise UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
        return self.inner.complete(request)

    async def acomplete(self, request):
        return self.complete(request)


def filtering(tickets, made=None):
    def wrap(inner):
        model = Filtered(inner, tickets)
        if made is not None:
            made.append(model)
        return model

    return wrap


def of_search(place, request, number):
    """Tickets of the search, from both of its sets in turn."""
    split = make_plan(request, place.loaded).split
    pairs = [one for pair in zip(split.train, split.validation, strict=False) for one in pair]
    return [one.fields["ticket"] if hasattr(one, "fields") else one["ticket"] for one in pairs[:number]]


def events_of(place, result, kind):
    folder = find_run(place.loaded.workspace.runs, result.run_id)
    return [event for event in read_events(folder.events) if event["kind"] == kind]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_fails_for_good_is_set_aside_and_the_search_goes_on(places, optimizer):
    place, made = places("one"), []
    request = place.request(optimizer)
    done = place.optimize(request, wrap=filtering(of_search(place, request, 2), made))
    result = done.result
    assert made[0].withheld > 0
    assert done.error is None, done.error
    assert result.status == "succeeded"
    aside = events_of(place, result, "set_aside")
    assert 1 <= len(aside) <= 2
    assert result.calls["excluded"] == len(aside)
    assert {warning["code"] for warning in result.warnings} >= {"examples_excluded"}
    assert result.optimized["test"] > result.baseline["test"]
    # It is missing data: a zero for it would have lowered these means.
    folder = find_run(place.loaded.workspace.runs, result.run_id)
    assert [one["item_id"] for one in json.loads(folder.quarantine.read_text())] == [
        e["example"] for e in aside
    ]


def test_what_a_search_lost_is_in_no_mean_of_its_result(place):
    """Neither in that of the plain program, which was measured before it failed, nor on the front."""
    request = place.request("gepa", num_threads=1, rounds=1)
    lost = make_plan(request, place.loaded).split.validation[0].fields["ticket"]
    done = place.optimize(request, wrap=filtering([lost]))
    result = done.result
    assert result.status == "succeeded", done.error
    (before,) = events_of(place, result, "baseline")
    left = before["examples"] - 1
    score = before["validation"] * before["examples"] - result.baseline["validation"] * left
    assert round(score, 6) in {0.0, 1.0}
    assert result.baseline["validation"] != pytest.approx(before["validation"])
    (plain,) = (one["quality"] for one in result.pareto if one["round"] == 0)
    (chosen,) = (one["quality"] for one in result.pareto if one["chosen"])
    assert (plain, chosen) == (result.baseline["validation"], result.optimized["validation"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_run_that_was_stopped_after_it_ends_in_the_same_program(places, optimizer):
    whole, cut = places("whole"), places("cut")
    # One thread: which of two examples fails first depends on the order of threads.
    request = whole.request(optimizer, num_threads=1)
    tickets = of_search(whole, request, 2)
    wanted = whole.optimize(request, wrap=filtering(tickets)).result
    control = Control()

    def stop(event):
        if event.kind == "set_aside":
            control.interrupt()

    first = cut.optimize(request, wrap=filtering(tickets), listener=stop, control=control).result
    assert first.stop_reason == "interrupted"
    again = cut.resume(first.run_id, request, wrap=filtering(tickets)).result
    assert again.status == "succeeded"
    assert again.program_hash == wanted.program_hash
    assert again.baseline == wanted.baseline
    assert again.optimized == wanted.optimized


def test_a_model_that_withholds_most_stops_the_run(places):
    place = places("one")
    request = place.request("gepa")
    split = make_plan(request, place.loaded).split
    every = of_search(place, request, 2 * len(split.train))
    done = place.optimize(request, wrap=filtering(every))
    assert isinstance(done.error, ProviderError)
    assert done.error.exit_code == 6
    assert "content_filter" in done.error.message
    assert done.result.status == "stopped"
    assert done.result.resume
    aside = events_of(place, done.result, "set_aside")
    assert 0 < len(aside) <= 0.2 * (len(split.train) + len(split.validation))


@pytest.mark.parametrize(
    "text", ['[{"item": "x"}]', "[1]", '{"a": 1}', '[{"item_id": "x", "round": "1", "reason": ""}]']
)
def test_a_list_that_was_edited_by_hand_is_named_in_a_sentence(places, text):
    place = places("one")
    control = Control()

    def stop(event):
        if event.kind == "set_aside":
            control.interrupt()

    request = place.request("gepa")
    wrap = filtering(of_search(place, request, 2))
    first = place.optimize(request, wrap=wrap, listener=stop, control=control).result
    path = find_run(place.loaded.workspace.runs, first.run_id).quarantine
    path.write_text(text)
    error = place.resume(first.run_id, request, wrap=wrap).error
    assert isinstance(error, DataError), error
    assert error.message.count(". ") == 0
    assert str(path) in error.message


def with_share(place, share):
    place.loaded = load(place.root, environ={"SKILL_FLEET_CALLS__MAX_FAILED_SHARE": share})
    return place


@pytest.mark.parametrize("share", ["0.5", "1"])
def test_what_a_search_found_is_kept_where_the_sealed_test_fails(place, share):
    place = with_share(place, share)
    request = place.request("gepa", num_threads=1, rounds=1)
    stopped = place.optimize(request, wrap=refusing(make_plan(request, place.loaded).split.test))
    assert isinstance(stopped.error, ProviderError)
    assert (stopped.result.status, stopped.result.stop_reason) == ("stopped", "provider")
    assert stopped.result.resume
    assert stopped.result.test_reads is None
    folder = find_run(place.loaded.workspace.runs, stopped.result.run_id)
    kept = load_artifact(folder.candidate, search=place.root)
    assert program_hash(kept.program) == stopped.result.program_hash
    plain = program_hash(make_plan(request, place.loaded).entry.build())
    assert stopped.result.program_hash not in {None, plain}
    again = place.resume(folder.run_id, request).result
    assert again.status == "succeeded"
    assert again.program_hash == stopped.result.program_hash
    searching = [result.calls["by_phase"]["optimization"] for result in (stopped.result, again)]
    assert searching[0] == searching[1] > 0


def test_a_test_that_each_program_lost_another_half_of_is_not_read(place):
    """Each half is borne, and no example has a score for both."""
    request = place.request("gepa", num_threads=1, rounds=1)
    test = make_plan(request, place.loaded).split.test
    halves = [[item.fields["ticket"] for item in half] for half in (test[:32], test[32:])]

    def wrap(inner):
        return Both(Refusing(inner, halves[0]), Filtered(inner, halves[1]))

    done = place.optimize(request, wrap=wrap)
    assert isinstance(done.error, ProviderError), done.error
    assert done.error.message.startswith("64 of 64 test examples failed, like this: ")
    assert (done.result.test_reads, done.result.verdict) == (None, "not_shown")
    assert done.result.resume


class Both:
    """Two models: one for the plain program, one for every other."""

    def __init__(self, of_plain, of_others):
        self.of_plain = of_plain
        self.of_others = of_others

    def complete(self, request):
        plain = "If the ticket mentions" not in str(request.system) and len(request.messages) == 1
        return (self.of_plain if plain else self.of_others).complete(request)


def stopped_after_the_baseline(place, request, **options):
    control = Control()

    def stop(event):
        if event.kind == "baseline":
            control.interrupt()

    return place.optimize(request, listener=stop, control=control, **options)


@pytest.mark.parametrize(
    ("share", "part", "lost"),
    [
        ("0.5", "validation", 24),
        ("0.5", "validation", 13),
        ("0.5", "training", 21),
        ("1", "validation", 24),
        ("1", "training", 40),
    ],
)
def test_a_set_of_which_too_much_fails_is_refused_before_the_search(place, share, part, lost):
    """24 of 64 examples are less than half of them, and all there are to choose by."""
    place = with_share(place, share)
    request = place.request("labeled_few_shot", rounds=1)
    split = make_plan(request, place.loaded).split
    items = split.train if part == "training" else split.validation
    done = stopped_after_the_baseline(place, request, wrap=refusing(items[-lost:]))
    assert isinstance(done.error, ProviderError), done.error
    assert done.error.message.startswith(f"{lost} of {len(items)} {part} examples failed, like this: ")
    assert (done.result.status, done.result.stop_reason) == ("stopped", "provider")
    # Nothing was decided: the model may answer when it is asked again.
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert not folder.set_aside.exists()
    again = place.resume(folder.run_id, request).result
    assert (again.status, again.calls["excluded"]) == ("succeeded", 0)


@pytest.mark.parametrize(("share", "lost"), [("0.5", 12), ("1", 23)])
def test_a_set_of_which_enough_is_left_is_searched_with(place, share, lost):
    place = with_share(place, share)
    request = place.request("labeled_few_shot", rounds=1)
    items = make_plan(request, place.loaded).split.validation
    done = stopped_after_the_baseline(place, request, wrap=refusing(items[-lost:]))
    assert done.result.stop_reason == "interrupted", done.error
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert set(json.loads(folder.set_aside.read_text())) == {item.id for item in items[-lost:]}


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_run_whose_list_leaves_a_set_empty_is_not_gone_on_with(place, part):
    request = place.request("labeled_few_shot", rounds=1)
    first = stopped_after_the_baseline(place, request).result
    folder = find_run(place.loaded.workspace.runs, first.run_id)
    items = getattr(make_plan(request, place.loaded).split, part)
    folder.set_aside.write_text(json.dumps([item.id for item in items]))
    error = place.resume(folder.run_id, request).error
    assert isinstance(error, DataError), error
    assert str(folder.set_aside) in error.message
    assert error.message.startswith(f"All {len(items)} {'training' if part == 'train' else part} examples")
