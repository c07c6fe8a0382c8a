"""Examples that fail for good in the middle of a search, on the offline model behind a content filter."""

import json

import pytest

from skill_fleet.foundation.errors import DataError, ProviderError
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.session import Control

OPTIMIZERS = ("gepa", "miprov2", "bootstrap_random_search")


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
