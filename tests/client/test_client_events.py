"""The stream of events over connections that break: nothing lost, nothing twice, no waiting without end."""

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import END, Scripted, event, hang_up, problem, stream, text, value

from skill_fleet.client import Client
from skill_fleet.foundation.errors import NotFound, ProviderError


def numbers(server: Scripted, clock, **options) -> list[int]:
    with Client(server.url, clock=clock) as client:
        return [found.number for found in client.events("x1", **options)]


def asked_after(server: Scripted) -> list[str]:
    return [asked.headers["last-event-id"] for asked in server.asked]


def test_a_stream_is_read_to_its_end(scripted, clock):
    scripted.will(stream("retry: 1000\n\n", event(1), ": still there\n\n", event(2, score=0.5), END))
    with Client(scripted.url, clock=clock) as client:
        first, second = client.events("x1")
    assert (first.number, second.kind, second.data) == (1, "round", {"score": 0.5})
    assert scripted.asked[0].headers["accept"] == "text/event-stream"
    assert clock.slept == []


def test_a_stream_that_breaks_is_gone_on_with_from_the_last_event(scripted, clock):
    scripted.will(
        stream(event(1), event(2), whole=False),
        hang_up,
        problem(503, "starting", "Not ready."),
        stream(event(3)),  # a server that stops ends its streams without saying that the job is over
        stream(event(4), END),
    )
    assert numbers(scripted, clock) == [1, 2, 3, 4]
    assert asked_after(scripted) == ["0", "2", "2", "2", "3"]


def test_an_event_that_comes_twice_is_given_once(scripted, clock):
    scripted.will(stream(event(1), event(2), whole=False), stream(event(2), event(1), event(3), END))
    assert numbers(scripted, clock) == [1, 2, 3]


def test_half_an_event_is_none(scripted, clock):
    whole = event(2)
    scripted.will(stream(event(1), whole[: len(whole) // 2], whole=False), stream(event(2), END))
    assert numbers(scripted, clock) == [1, 2]


@hypothesis.settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 9), max_size=8).map(sorted))
def test_wherever_it_breaks_the_events_are_the_same(cuts):
    from still_clock import Still

    server = Scripted()
    try:
        sent = 0
        for cut in cuts:
            server.will(stream(*(event(number) for number in range(sent + 1, cut + 1)), whole=False))
            sent = max(sent, cut)
        server.will(stream(*(event(number) for number in range(sent + 1, 11)), END))
        assert numbers(server, Still()) == list(range(1, 11))
    finally:
        server.close()


def test_after_and_trouble_told_once_each_time(scripted, clock):
    told: list[str] = []
    scripted.will(hang_up, hang_up, stream(event(8), whole=False), hang_up, stream(END))
    assert numbers(scripted, clock, after=7, on_trouble=lambda error: told.append(error.code)) == [8]
    assert told == ["server_away", "server_away"]
    assert asked_after(scripted) == ["7", "7", "7", "8", "8"]


def test_a_server_that_stays_away_is_given_up_after_the_patience(scripted, clock):
    scripted.will(*[hang_up] * 200)
    with pytest.raises(ProviderError) as caught:
        numbers(scripted, clock, patience=60)
    assert caught.value.code == "server_away"
    assert 60 <= sum(clock.slept) <= 90
    assert max(clock.slept) <= 10


def test_a_long_silence_before_a_break_is_no_absence(scripted, clock):
    def silent(handler):
        clock.sleep(10_000)
        stream(event(1), whole=False)(handler)

    scripted.will(silent, hang_up, stream(END))
    assert numbers(scripted, clock, patience=5) == [1]


def test_a_refusal_is_not_tried_again(scripted, clock):
    scripted.will(problem(404, "not_found", "There is no job."))
    with pytest.raises(NotFound):
        numbers(scripted, clock)
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [text("<html>"), stream("data: nonsense\n\n"), stream("data: {}\n\n")],
    ids=["page", "no JSON", "no event"],
)
def test_what_is_no_stream_of_events_is_said(scripted, clock, answer):
    scripted.will(answer)
    with pytest.raises(ProviderError) as caught:
        numbers(scripted, clock)
    assert caught.value.code == "unreadable_answer"
    assert len(scripted.asked) == 1


def test_events_so_far_are_read_page_by_page(scripted, clock):
    def page(*found: int, over: bool):
        events = [{"number": n, "at": "2026-01-01T00:00:00Z", "kind": "round", "data": {}} for n in found]
        return value({"events": events, "last": found[-1] if found else 0, "over": over})

    scripted.will(page(1, 2, over=False), page(3, over=False), page(over=False))
    with Client(scripted.url, clock=clock) as client:
        assert [found.number for found in client.events_so_far("x1")] == [1, 2, 3]
    assert [asked.path.rpartition("?")[2] for asked in scripted.asked] == ["after=0", "after=2", "after=3"]
