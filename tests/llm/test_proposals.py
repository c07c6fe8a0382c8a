"""A proposal that fails for good: told to the optimizer, remembered, and never an example's failure."""

import asyncio

import pytest
from dspy.utils.exceptions import LMServerError

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import ProviderError, StorageError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.call_context import MadeFor, current_call
from skill_fleet.llm.calls.engine import Line, MeteredEngine, Retry
from skill_fleet.llm.calls.proposals import Proposals, Withheld, withheld_in
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
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


@pytest.fixture
def made(tmp_path):
    """An LM of proposals over a model, on one journal."""
    journal = Journal(tmp_path / "ledger", tmp_path / "responses")
    line = Line(journal, "run", SYSTEM_CLOCK, Retry(attempts=2, base=0.0))

    def make(model, known=(), on_withheld=lambda *_: True):
        proposals = Proposals(dict(known), on_withheld)
        gate = Gate(Account(Limits(), SYSTEM_CLOCK))
        spec = ModelSpec(model="offline/rules-v1")
        engine = MeteredEngine(model, spec, line, gate, None, "halt", proposals=proposals)
        return FleetLM(engine, phase="optimization", temperature=1.0), proposals

    yield make
    journal.close()


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


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_made_for_an_example_halts(made, asynchronous):
    model = Refusing([0])
    lm, proposals = made(model)
    with pytest.raises(Withheld):
        lm("Write an instruction.")
    # The same request, known to be withheld, halts too: an exception would be a score.
    lm, proposals = made(model, known=proposals.withheld)
    with MadeFor("one"), pytest.raises(Halt) as raised:
        asyncio.run(lm.acall("Write an instruction.")) if asynchronous else lm("Write an instruction.")
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


def test_of_several_completions_those_that_are_given_are_kept(made):
    model = Refusing([1, 3])
    lm, proposals = made(model)
    for _ in range(2):  # the second time from the journal, and of the withheld ones nobody is asked
        assert len(lm("Write an instruction.", n=5)) == 3
        assert sorted(set(model.asked)) == [0, 1, 2, 3, 4]
        assert len(model.asked) == 5
    assert len(proposals.withheld) == 2
    assert proposals.answered == 3
    none = Refusing(range(5))
    lm, proposals = made(none)
    with pytest.raises(Withheld):
        lm("Write another instruction.", n=5)
    assert len(proposals.withheld) == len(none.asked) == 5


def test_it_is_found_in_what_it_led_to():
    withheld = Withheld(ProviderError("Withheld.", code="content_filter"))
    led_to = AssertionError("unknown")
    led_to.__context__ = RuntimeError()
    led_to.__context__.__cause__ = withheld
    assert withheld_in(led_to) is withheld
    assert withheld_in(ValueError()) is None
