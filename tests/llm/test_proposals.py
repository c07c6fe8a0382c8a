"""A proposal that fails for good: told to the optimizer, remembered, and never an example's failure."""

import asyncio
import concurrent.futures
import contextlib
import threading
from dataclasses import dataclass, field

import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMInvalidRequestError, LMServerError

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import LeaseLost, ProviderError, StorageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.call_context import MadeFor, current_call
from skill_fleet.llm.calls.engine import Line, MeteredEngine, Retry
from skill_fleet.llm.calls.proposals import Proposals, Withheld, withheld_in
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.limits.limiter import Limiter
from skill_fleet.llm.offline.model import OfflineModel


class Refusing:
    """A model that withholds completions by their number, or breaks."""

    def __init__(self, numbers=(), error=None):
        self.inner = OfflineModel()
        self.numbers = numbers
        self.error = error
        self.asked = []

    def complete(self, request):
        number = current_call().candidate
        self.asked.append(number)
        if self.error is not None:
            raise self.error
        if number in self.numbers:
            raise UnusableAnswer("The filter withheld the answer.", code="content_filter")
        return self.inner.complete(request)

    async def acomplete(self, request):
        return self.complete(request)


@dataclass(frozen=True)
class Late(Line):
    """A line on which threads of the name `late` wait between the look-up and the claim.

    Attributes:
        looked: Set when one has looked up.
        go: Lets it go on.
    """

    looked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def claim(self, flight):
        if threading.current_thread().name.startswith("late"):
            self.looked.set()
            assert self.go.wait(30)
        return super().claim(flight)


BOTH = pytest.mark.parametrize("asynchronous", [False, True])


def asked(lm, prompt, *, asynchronous=False, **options):
    """What a call comes to, awaited or not."""
    return asyncio.run(lm.acall(prompt, **options)) if asynchronous else lm(prompt, **options)


@pytest.fixture
def line(tmp_path):
    """What the calls of a run share."""
    journal = Journal(tmp_path / "ledger", tmp_path / "responses")
    yield Late(journal, "run", SYSTEM_CLOCK, Retry(attempts=2, base=0.0))
    journal.close()


@pytest.fixture
def made(line):
    """An LM of proposals over a model, on one journal."""

    def make(model, known=(), on_withheld=lambda *_: True, on_failure="halt", **bounds):
        proposals = Proposals(dict(known), on_withheld)
        gate = Gate(Account(Limits(), SYSTEM_CLOCK))
        spec = ModelSpec(model="offline/rules-v1")
        engine = MeteredEngine(model, spec, line, gate, None, on_failure, proposals=proposals, **bounds)
        return FleetLM(engine, phase="optimization", temperature=1.0), proposals

    return make


def test_it_is_an_error_of_dspy_once_and_for_all(made):
    model, notes = Refusing([0]), []
    lm, proposals = made(model, on_withheld=lambda *note: not notes.append(note))
    for _ in range(3):
        with pytest.raises(Withheld, match="The filter withheld the answer") as raised:
            lm("Write an instruction.")
        assert raised.value.code == "content_filter"
    assert model.asked == [0]
    ((key, error, *numbers),) = notes
    assert (numbers, error.code, list(proposals.withheld)) == ([1, 0], "content_filter", [key])
    assert not proposals.answered
    # A later process is told before.
    again = Refusing([0])
    lm, proposals = made(again, known={key: error})
    with pytest.raises(Withheld):
        lm("Write an instruction.")
    assert again.asked == []
    assert list(proposals.withheld) == [key]


@BOTH
def test_a_call_made_for_an_example_halts(made, asynchronous):
    model = Refusing([0])
    lm, proposals = made(model)
    with pytest.raises(Withheld):
        lm("Write an instruction.")
    # The same request, known to be withheld, halts too: an exception would be a score.
    lm, proposals = made(model, known=proposals.withheld)
    with MadeFor("one"), pytest.raises(Halt) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert raised.value.subject == "one"
    assert not proposals.withheld


def test_a_server_that_fails_halts(made):
    lm, proposals = made(Refusing(error=LMServerError("It is down.")))
    with pytest.raises(Halt):
        lm("Write an instruction.")
    assert not proposals.withheld


def test_one_too_many_halts_with_the_cause(made):
    lm, _ = made(Refusing([0]), on_withheld=lambda *_: False)
    with pytest.raises(Halt) as raised:
        lm("Write an instruction.")
    assert (raised.value.cause, raised.value.subject) == ("provider", None)
    assert raised.value.error.code == "content_filter"


def test_where_it_cannot_be_noted_the_search_stops(made):
    def full(*_):
        raise StorageError("The disk is full.")

    lm, _ = made(Refusing([0]), on_withheld=full)
    with pytest.raises(Halt) as raised:
        lm("Write an instruction.")
    assert raised.value.cause == "storage"


@BOTH
def test_of_several_completions_those_that_are_given_are_kept(made, asynchronous):
    model = Refusing([1, 3])
    lm, proposals = made(model)
    for _ in range(2):  # the second time from the journal, and of the withheld ones nobody is asked
        assert len(asked(lm, "Write an instruction.", asynchronous=asynchronous, n=5)) == 3
        assert sorted(set(model.asked)) == [0, 1, 2, 3, 4]
        assert len(model.asked) == 5
    assert len(proposals.withheld) == 2
    assert proposals.answered == 3
    none = Refusing(range(5))
    lm, proposals = made(none)
    with pytest.raises(Withheld):
        asked(lm, "Write another instruction.", asynchronous=asynchronous, n=5)
    assert len(proposals.withheld) == len(none.asked) == 5


@BOTH
def test_only_one_of_five_that_is_given_is_what_the_call_comes_to(made, asynchronous):
    lm, proposals = made(Refusing([0, 1, 2, 4]))
    assert len(asked(lm, "Write an instruction.", asynchronous=asynchronous, n=5)) == 1
    assert (len(proposals.withheld), proposals.answered) == (4, 1)


@BOTH
def test_what_is_withheld_between_the_look_up_and_the_claim_is_not_asked_for_again(made, line, asynchronous):
    model, notes = Refusing([0]), []
    lm, _ = made(model, on_withheld=lambda *note: not notes.append(note))
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="late") as pool:
        late = pool.submit(asked, lm, "Write an instruction.", asynchronous=asynchronous)
        assert line.looked.wait(30)
        with pytest.raises(Withheld):
            lm("Write an instruction.")
        line.go.set()
        assert isinstance(late.exception(30), Withheld)
    assert model.asked == [0]
    assert len(notes) == 1
    assert line.journal.spent("run").calls == 1


@BOTH
def test_a_resumed_search_goes_the_way_it_went_though_another_run_was_answered_since(made, asynchronous):
    lm, first = made(Refusing([0]))
    with pytest.raises(Withheld):
        lm("Write an instruction.")
    other, _ = made(Refusing())
    given = other("Write an instruction.")
    resumed, proposals = made(Refusing(), known=first.withheld)
    with pytest.raises(Withheld):
        asked(resumed, "Write an instruction.", asynchronous=asynchronous)
    assert (list(proposals.withheld), proposals.answered) == (list(first.withheld), 0)
    # For an example it is an answer like any other, and leaves the proposal what it was.
    with MadeFor("one"):
        assert asked(resumed, "Write an instruction.", asynchronous=asynchronous) == given
    with pytest.raises(Withheld):
        asked(resumed, "Write an instruction.", asynchronous=asynchronous)


class Stopped(Refusing):
    """A model that withholds while something closes the gate."""

    def complete(self, request):
        self.close()
        return super().complete(request)


@BOTH
def test_what_is_withheld_while_the_run_is_stopped_is_noted(made, line, asynchronous):
    model, notes = Stopped([0]), []
    lm, proposals = made(model, on_withheld=lambda *note: not notes.append(note))
    model.close = lm.engine.gate.interrupt
    with pytest.raises(Halt) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert (raised.value.cause, raised.value.subject) == ("interrupted", None)
    assert line.journal.spent("run").calls == 1
    assert [key for key, *_ in notes] == list(proposals.withheld) != []
    # The resumed search asks nobody.
    again = Refusing()
    lm, _ = made(again, known=proposals.withheld)
    with pytest.raises(Withheld):
        lm("Write an instruction.")
    assert again.asked == []


@BOTH
def test_the_reason_for_which_a_run_is_stopped_goes_before_that_of_a_call(made, line, asynchronous):
    """Also where a failure is given to the caller: who has stopped the run is not to go on with the next."""
    model = Stopped([0])
    lm, _ = made(model, on_failure="raise")
    model.close = lm.engine.gate.interrupt
    with MadeFor("one"), pytest.raises(Halt) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert (raised.value.cause, raised.value.subject) == ("interrupted", None)
    model = Stopped(error=LMServerError("It is down."))
    lm, proposals = made(model)
    model.close = lm.engine.gate.interrupt
    with pytest.raises(Halt) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert raised.value.cause == "interrupted"
    assert model.asked == [0]
    assert not proposals.withheld


@BOTH
def test_a_run_that_was_stopped_is_told_nothing_more_that_is_known(made, asynchronous):
    lm, _ = made(Refusing())
    asked(lm, "Write an instruction.", asynchronous=asynchronous)
    lm.engine.inner.numbers = [0]
    with pytest.raises(Withheld):
        asked(lm, "Write another instruction.", asynchronous=asynchronous)
    lm.engine.gate.interrupt()
    for prompt in ("Write an instruction.", "Write another instruction."):
        with pytest.raises(Halt):
            asked(lm, prompt, asynchronous=asynchronous)


class Counted:
    """A place for any number of attempts, that counts them."""

    taken = left = 0

    def acquire(self):
        self.taken += 1

    async def aacquire(self):
        self.acquire()

    def release(self):
        self.left += 1


@BOTH
def test_a_failure_that_may_pass_is_not_waited_out_once_the_run_is_stopped(made, asynchronous):
    model, place = Stopped(error=UnusableAnswer("It is cut off.", code="truncated")), Counted()
    lm, proposals = made(model, place=place)
    model.close = lm.engine.gate.interrupt
    with pytest.raises(Halt) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert raised.value.cause == "interrupted"
    assert (place.taken, place.left, model.asked) == (1, 1, [0])
    assert not proposals.withheld


def test_who_has_lost_the_run_notes_nothing_and_stops(made):
    def lost(*_):
        raise LeaseLost("Somebody else has the job.")

    lm, _ = made(Refusing([0]), on_withheld=lost)
    with pytest.raises(Halt) as raised:
        lm("Write an instruction.")
    assert (raised.value.cause, raised.value.error.code) == ("lease", "lease_lost")
    assert lm.engine.gate.closed.cause == "lease"


def limited():
    """A limiter of an account of its own."""
    return Limiter(SYSTEM_CLOCK, longest_pause=60.0, outage_seconds=120.0)


@BOTH
def test_a_first_proposal_that_is_too_long_is_withheld(made, asynchronous):
    too_long = ContextWindowExceededError(message="The prompt is too long.")
    model, notes = Refusing(error=too_long), []
    lm, _ = made(model, on_withheld=lambda *note: not notes.append(note), limiter=limited())
    with pytest.raises(Withheld) as raised:
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert raised.value.too_long
    assert len(notes) == 1
    model.error = None
    assert asked(lm, "Write less.", asynchronous=asynchronous)


@pytest.mark.parametrize(
    ("error", "subject"),
    [
        (ContextWindowExceededError(message="The prompt is too long."), "one"),
        (LMInvalidRequestError("No such parameter.", status=400), None),
    ],
)
def test_any_other_first_request_that_is_refused_stops_the_run(made, line, error, subject):
    lm, proposals = made(Refusing(error=error), limiter=limited())
    with MadeFor(subject) if subject else contextlib.nullcontext(), pytest.raises(Halt) as raised:
        lm("Write an instruction.")
    assert (raised.value.cause, raised.value.subject) == ("provider", None)
    assert not proposals.withheld


@BOTH
def test_an_answer_for_an_example_is_no_proposal(made, asynchronous):
    lm, proposals = made(Refusing())
    for _ in range(3):  # by the model, and from what is remembered
        with MadeFor("one"):
            asked(lm, "Write an instruction.", asynchronous=asynchronous)
        assert proposals.answered == 0
    asked(lm, "Write an instruction.", asynchronous=asynchronous)
    assert proposals.answered == 1


@BOTH
def test_an_answer_that_is_remembered_counts_in_the_next_search_too(made, asynchronous):
    model = Refusing()
    for _ in range(2):  # the rounds of a run have what they remember in common
        lm, proposals = made(model)
        asked(lm, "Write an instruction.", asynchronous=asynchronous)
        assert proposals.answered == 1
    assert model.asked == [0]


def test_two_equal_calls_that_fail_for_good_at_once_are_one():
    notes = []
    proposals = Proposals({}, lambda *note: not notes.append(note))
    error = ProviderError("Withheld.", code="content_filter")
    for _ in range(2):
        assert proposals.withholds("key", error).error is error
    assert notes == [("key", error, 1, 0)]


def test_it_is_found_in_what_it_led_to():
    withheld = Withheld(ProviderError("Withheld.", code="content_filter"))
    led_to = AssertionError("unknown")
    led_to.__context__ = RuntimeError()
    led_to.__context__.__cause__ = withheld
    assert withheld_in(led_to) is withheld
    assert withheld_in(ValueError()) is None
