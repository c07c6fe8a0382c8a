"""What a search writes down of itself: how much it may, and that a process without the run writes nothing."""

import json
from dataclasses import asdict, replace

import dspy
import pytest
from withholding import every, share_of, wrapping

from skill_fleet.config.load import load
from skill_fleet.evaluation.measurement import Measurement, identity_of
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import LeaseLost, ProviderError, StorageError
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import Connections
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import EventLog, read_events
from skill_fleet.optimization.records.runs import find_run, new_run
from skill_fleet.optimization.searching.pace import Pace
from skill_fleet.optimization.searching.quarantine import SetAside, remaining, set_aside
from skill_fleet.optimization.searching.stages import Baseline
from skill_fleet.optimization.searching.withheld import RoundProposals
from skill_fleet.optimization.session import Control, open_session

WITHHELD = ProviderError("A filter withheld it.", code="content_filter")
ANOTHERS = {"key": "of another", "round": 1, "code": "content_filter", "reason": "Filtered.", "hint": ""}
NO = [
    (LeaseLost("Somebody else has the job."), "lease"),
    (StorageError("The store does not answer.", code="unavailable"), "storage"),
]


@pytest.fixture
def opened(place):
    """A session that may lose a share of its calls, and what a search begins with, of so many examples."""
    sessions = []

    def open_(share, examples=0):
        place.loaded = load(place.root, environ={"SKILL_FLEET_CALLS__MAX_FAILED_SHARE": str(share)})
        folder = new_run(place.loaded.workspace.runs, SYSTEM_CLOCK)
        session = open_session(
            make_plan(place.request("gepa"), place.loaded),
            folder,
            place.loaded,
            EventLog(folder.events, SYSTEM_CLOCK),
            clock=SYSTEM_CLOCK,
            control=Control(),
            connections=Connections.of({}),
            retry=Retry(),
        )
        sessions.append(session)
        train = [dspy.Example(id=f"example {number}", ticket="One.") for number in range(examples)]
        return session, Baseline(
            dspy.Module(), train, [], Measurement(()), 1.0, Pace(1.0, 0.0, 0.0, 0.0), None
        )

    yield open_
    for session in sessions:
        session.line.journal.close()


def keys(session):
    return [one["key"] for one in json.loads(session.folder.withheld.read_text())]


@pytest.mark.parametrize(("share", "answered", "bearable"), [(0.29, 71, 29), (0.5, 40, 40), (0.05, 0, 10)])
def test_a_round_goes_on_without_the_share_of_its_proposals_that_may_be_withheld(
    opened, share, answered, bearable
):
    """29 of 100 are not more than 0.29 of them, though 0.29 * 100 is 28.999999999999996."""
    session, baseline = opened(share)
    found = RoundProposals(session, baseline, 1)
    for number in range(answered):
        found.proposals.answers(f"answer {number}")
    given = [found.proposals.withholds(f"{number}", WITHHELD) for number in range(bearable + 1)]
    assert [one is None for one in given] == [False] * bearable + [True]
    assert keys(session) == [f"{number}" for number in range(bearable)]


def test_only_what_was_one_too_many_is_told_as_such_and_its_round_forgotten(opened):
    session, baseline = opened(0)
    rounds = [ANOTHERS, {**ANOTHERS, "key": "of this round", "round": 2}]
    session.folder.withheld.write_text(json.dumps(rounds))
    found = RoundProposals(session, baseline, 2)
    assert found.proposals.withholds("one", WITHHELD) is None
    # The run may have been stopped for something else by then, of the same provider too.
    for halt in (Halt("provider", ProviderError("It is down.", code="server")), None):
        assert found.told(halt) is halt
        assert json.loads(session.folder.withheld.read_text()) == rounds
    told = found.told(Halt("provider", WITHHELD).again())
    assert told.error.message.startswith("1 calls for proposals of round 2 were withheld, more than")
    assert json.loads(session.folder.withheld.read_text()) == [ANOTHERS]


def test_what_another_process_has_noted_meanwhile_stays(opened):
    session, baseline = opened(0.5)
    found = RoundProposals(session, baseline, 1)
    found.proposals.withholds("first", WITHHELD)
    session.folder.withheld.write_text(json.dumps([ANOTHERS]))
    found.proposals.withholds("second", WITHHELD)
    assert keys(session) == ["of another", "second"]


def test_as_many_examples_are_set_aside_as_the_share_says(opened):
    """29 of 200 are not more than 0.145 of them, though 0.145 * 200 is 28.999999999999996."""
    session, baseline = opened(0.145, examples=172)
    known = [SetAside(f"{number}", 1, "It was withheld.") for number in range(28)]
    session.folder.quarantine.write_text(json.dumps([asdict(one) for one in known]))
    for number, may in enumerate((True, False)):
        item = identity_of(baseline.train[0])[0]
        assert set_aside(session, baseline, 1, Halt("provider", WITHHELD, item)) is may
        assert len(json.loads(session.folder.quarantine.read_text())) == 29
        baseline = replace(baseline, train=baseline.train[1:])
        assert (item in session.excluded) is (number == 0)


def failing(example):
    return Halt("provider", WITHHELD, identity_of(example)[0])


def noted(session):
    return [(one["item_id"], one["round"]) for one in json.loads(session.folder.quarantine.read_text())]


def test_what_a_later_round_set_aside_is_counted_once(opened):
    """A resumed run begins at the first round again: what fails later is in its searches, and in the list."""
    session, baseline = opened(0.5, examples=200)
    names = [identity_of(example)[0] for example in baseline.train]
    later = [SetAside(name, 2, "It was withheld.") for name in names[:39]]
    session.folder.quarantine.write_text(json.dumps([asdict(one) for one in later]))
    assert set_aside(session, baseline, 1, failing(baseline.train[100])) is True
    assert set_aside(session, baseline, 1, failing(baseline.train[101])) is False
    # One of them is no further one, also in an earlier round: that is from when on it is left out.
    assert set_aside(session, baseline, 1, failing(baseline.train[0])) is True
    assert noted(session) == [*((name, 2) for name in names[1:39]), (names[100], 1), (names[0], 1)]


def test_a_round_has_what_is_set_aside_later(opened):
    session, baseline = opened(0.5, examples=3)
    names = [identity_of(example)[0] for example in baseline.train]
    entries = [SetAside(name, number, "It was withheld.") for number, name in enumerate(names, start=1)]
    session.folder.quarantine.write_text(json.dumps([asdict(one) for one in entries]))
    for number in (1, 2, 3):
        left = [identity_of(example)[0] for example in remaining(session, baseline, number).train]
        assert left == names[number:]
        assert session.excluded == set(names[:number])


@pytest.mark.parametrize(("share", "bearable"), [(0.5, 2), (0.25, 1), (0.2, 0), (1, 3)])
def test_one_set_does_not_make_up_for_what_the_other_loses(opened, share, bearable):
    """4 of 44 are less than a fifth of them, and all there are to choose by."""
    session, baseline = opened(share)
    train, validation = session.plan.examples("train"), session.plan.examples("validation")[:4]
    assert len(train) == 40
    baseline = replace(baseline, train=train, validation=validation)
    may = []
    for number in range(4):
        may.append(set_aside(session, baseline, 1, failing(validation[number])))
        baseline = remaining(session, baseline, 1)
    assert may == [number < bearable for number in range(4)]
    assert set_aside(session, baseline, 1, failing(train[0])) is True


class Owned:
    """Who has the run: this process, until it asks for a certain time; then another has noted something.

    Args:
        place: Where the run is.
        lost_at: The time, counted from 1; the first is that at which the baseline is written down.
        name: Of the list in which the other noted it.
        noted: What it noted.
        answer: What this process is told from then on.
    """

    def __init__(self, place, lost_at, name, noted, answer):
        self.place, self.lost_at, self.name, self.noted, self.answer = place, lost_at, name, noted, answer
        self.times = 0
        self.left = None

    def may_write(self):
        self.times += 1
        if self.times < self.lost_at:
            return
        if self.left is None:
            (folder,) = self.place.loaded.workspace.runs.iterdir()
            path = folder / self.name
            known = json.loads(path.read_text()) if path.exists() else []
            path.write_text(json.dumps([*known, self.noted]))
            self.left = path.read_text()
        raise self.answer


@pytest.mark.parametrize(("answer", "reason"), NO)
def test_who_lost_the_run_in_the_baseline_leaves_what_it_goes_by_to_who_has_it(place, answer, reason):
    """Each of the two would set aside what failed for it alone, and go on without it."""
    owned = Owned(place, 1, "set_aside.json", "of another", answer)
    request = place.request("gepa", num_threads=1, rounds=1)
    done = place.optimize(request, may_write=owned.may_write)
    assert (done.result.status, done.result.stop_reason) == ("stopped", reason)
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert folder.set_aside.read_text() == owned.left
    assert not folder.baseline.exists()


def test_what_was_set_aside_before_the_search_is_decided_once(place):
    """By the one look at the list before the baseline: what comes there meanwhile is another's."""
    request = place.request("gepa", num_threads=1, rounds=1)
    validation = make_plan(request, place.loaded).split.validation
    failing, control = validation[3], Control()

    def meanwhile(event):
        (folder,) = place.loaded.workspace.runs.iterdir()
        if event.kind == "progress" and event.data.get("stage") == "baseline":
            (folder / "set_aside.json").write_text(json.dumps(["of another"]))
        if event.kind == "baseline":
            control.interrupt()

    def wrap(inner):
        return Filtered(inner, failing.fields["ticket"], always=True)

    first = place.optimize(request, wrap=wrap, listener=meanwhile, control=control).result
    folder = find_run(place.loaded.workspace.runs, first.run_id)
    assert json.loads(folder.set_aside.read_text()) == [failing.id]
    # The provider answers it by now. What the search began without it goes on without it.
    again = place.resume(first.run_id, request).result
    assert json.loads(folder.set_aside.read_text()) == [failing.id]
    assert again.calls["excluded"] == 1
    measured = [event["examples"] for event in read_events(folder.events) if event["kind"] == "baseline"]
    assert measured == [len(validation) - 1] * 2


@pytest.mark.parametrize(("answer", "reason"), NO)
@pytest.mark.parametrize("threads", [1, 8])
def test_who_lost_the_run_while_a_proposal_was_out_leaves_the_list_to_who_has_it(
    place, answer, reason, threads
):
    made, owned = [], Owned(place, 3, "withheld.json", ANOTHERS, answer)
    request = place.request("gepa", num_threads=threads, rounds=1)
    which = share_of(0.5)
    done = place.optimize(request, wrap=wrapping(made, which), may_write=owned.may_write)
    assert (done.result.status, done.result.stop_reason) == ("stopped", reason)
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert folder.withheld.read_text() == owned.left
    again = place.resume(done.result.run_id, request, wrap=wrapping(made, which))
    assert again.result.status == "succeeded", again.error
    noted = [one["key"] for one in json.loads(folder.withheld.read_text())]
    assert noted[1] == "of another"
    assert len(noted) == len(set(noted)) > 2


def test_who_lost_the_run_forgets_nothing_of_what_was_withheld(place):
    place.loaded = load(place.root, environ={"SKILL_FLEET_CALLS__MAX_FAILED_SHARE": "0"})
    owned = Owned(place, 2, "withheld.json", ANOTHERS, LeaseLost("Somebody else has the job."))
    request = place.request("gepa", num_threads=1, rounds=1)
    done = place.optimize(request, wrap=wrapping([], every), may_write=owned.may_write)
    assert (done.result.status, done.result.stop_reason) == ("stopped", "lease")
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert json.loads(folder.withheld.read_text()) == [ANOTHERS]


class Filtered:
    """A model that withholds its answer about a ticket: always, or once the program is not the plain one."""

    def __init__(self, inner, ticket, *, always=False):
        self.inner = inner
        self.ticket = ticket
        self.always = always

    def complete(self, request):
        grown = self.always or "If the ticket" in str(request.system)
        if grown and self.ticket in (request.messages[-1].text or ""):
            raise UnusableAnswer("The provider's content filter withheld the answer.", code="content_filter")
        return self.inner.complete(request)


@pytest.mark.parametrize(("answer", "reason"), NO)
def test_who_lost_the_run_while_an_example_failed_leaves_the_list_to_who_has_it(place, answer, reason):
    noted = {"item_id": "of another", "round": 1, "reason": "Filtered."}
    owned = Owned(place, 2, "quarantine.json", noted, answer)
    request = place.request("gepa", num_threads=1, rounds=1)
    ticket = make_plan(request, place.loaded).split.train[0].fields["ticket"]

    def wrap(inner):
        return Filtered(inner, ticket)

    done = place.optimize(request, wrap=wrap, may_write=owned.may_write)
    assert (done.result.status, done.result.stop_reason) == ("stopped", reason)
    assert done.result.calls["excluded"] == 0
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    assert folder.quarantine.read_text() == owned.left
    again = place.resume(done.result.run_id, request, wrap=wrap)
    assert again.result.status == "succeeded", again.error
    aside = json.loads(folder.quarantine.read_text())
    assert len(aside) == 2
    assert aside[0] == noted
