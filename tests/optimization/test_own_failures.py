"""A file or a connection of a program's own that breaks in a search is no score there either."""

import json

import dspy
import pytest

from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import ProgramError
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.optimization import GEPA
from skill_fleet.optimization.attribution import Attribution
from skill_fleet.optimization.own_failures import OwnFailures
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.runs import find_run

PROGRAM = '''
"""A program that looks something up first, once its instructions were learnt or it has examples."""

import json
from pathlib import Path

import dspy
import triage

BROKEN = Path(__file__).with_name("broken.json")


class LookingUp(dspy.Module):
    def __init__(self):
        super().__init__()
        self.triage = dspy.Predict(triage.Triage)

    def forward(self, ticket):
        learnt = "If the ticket" in self.triage.signature.instructions or self.triage.demos
        if learnt and ticket in json.loads(BROKEN.read_text()):
            raise ConnectionResetError("the look-up service went away")
        return self.triage(ticket=ticket)
'''
SAID = "The program met ConnectionResetError: the look-up service went away."


def looking_up(places, name, optimizer="gepa", **options):
    """A place with the program in it, a request, and the tickets of its search."""
    place = places(name)
    (place.root / f"looking_up_{name}.py").write_text(PROGRAM)
    (place.root / "broken.json").write_text("[]")
    defaults = {"num_threads": 1, "rounds": 1, "program": f"looking_up_{name}:LookingUp"}
    request = place.request(optimizer, **{**defaults, **options})
    split = make_plan(request, place.loaded).split
    pairs = [one for pair in zip(split.train, split.validation, strict=False) for one in pair]
    return place, request, pairs


@pytest.mark.parametrize(
    ("optimizer", "threads"),
    [("gepa", 1), ("gepa", 8), ("miprov2", 1), ("bootstrap_random_search", 8), ("simba", 4)],
)
def test_the_example_is_set_aside_and_the_search_goes_on(places, optimizer, threads):
    place, request, items = looking_up(places, f"aside_{optimizer}", optimizer, num_threads=threads)
    broken = {item.fields["ticket"]: item.id for item in items[:2]}
    (place.root / "broken.json").write_text(json.dumps(list(broken)))
    done = place.optimize(request)
    assert done.error is None, done.error
    folder = find_run(place.loaded.workspace.runs, done.result.run_id)
    aside = json.loads(folder.quarantine.read_text())
    assert {one["item_id"] for one in aside} == set(broken.values())
    assert {one["reason"] for one in aside} == {SAID}
    assert done.result.calls["excluded"] == 2
    assert done.result.status == "succeeded"


def test_where_too_many_break_the_run_stops_and_is_gone_on_with(places):
    place, request, items = looking_up(places, "many")
    (place.root / "broken.json").write_text(json.dumps([item.fields["ticket"] for item in items]))
    stopped = place.optimize(request)
    assert isinstance(stopped.error, ProgramError)
    assert stopped.error.message == SAID
    assert (stopped.result.status, stopped.result.stop_reason) == ("stopped", "environment")
    assert stopped.result.resume == f"skill-fleet runs resume {stopped.result.run_id}"
    assert stopped.result.published is None
    (place.root / "broken.json").write_text("[]")
    done = place.resume(stopped.result.run_id, request).result
    assert done.status == "succeeded"
    assert done.optimized["validation"] > done.baseline["validation"]


class Reader(dspy.Module):
    """Raises what it is told to."""

    def forward(self, question):
        raise {"file": FileNotFoundError(2, "No such file"), "bug": KeyError("lost")}[question]


class Around(dspy.Module):
    """May catch what its part raises."""

    def __init__(self, catches):
        super().__init__()
        self.reader, self.catches, self.runs = Reader(), catches, 0

    def forward(self, question):
        self.runs += 1
        try:
            return self.reader(question=question)
        except (OSError, KeyError):
            if not self.catches:
                raise
            return dspy.Prediction(answer="?")


@pytest.fixture
def gate():
    return Gate(Account(Limits(), SYSTEM_CLOCK))


@pytest.fixture
def watched(gate):
    """Programs run on two examples known to a search."""
    known = [
        dspy.Example(question=what, id=f"the {what}").with_inputs("question") for what in ("file", "bug")
    ]
    with dspy.context(callbacks=[OwnFailures(gate), Attribution(known)]):
        yield


@pytest.mark.usefixtures("watched")
def test_what_the_program_catches_is_its_own_and_so_is_a_bug(gate):
    assert Around(catches=True)(question="file").answer == "?"
    with pytest.raises(KeyError):
        Around(catches=False)(question="bug")
    assert gate.closed is None


@pytest.mark.usefixtures("watched")
def test_what_comes_out_of_it_stops_the_search_and_nothing_else_begins(gate):
    program = Around(catches=False)
    with pytest.raises(Halt) as halted:
        program(question="file")
    assert (halted.value.cause, halted.value.subject) == ("environment", "the file")
    assert isinstance(halted.value.__cause__, FileNotFoundError)
    assert gate.closed.subject == "the file"
    with pytest.raises(Halt):
        program(question="bug")
    assert program.runs == 1


class Answer(dspy.Module):
    """One predictor, and a look-up that breaks for one question as soon as the program was changed."""

    plain = "Given the fields `question`, produce the fields `answer`."

    def __init__(self):
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question):
        if question == "What is 3?" and self.answer.signature.instructions != self.plain:
            raise FileNotFoundError(2, "No such file", "facts.json")
        return self.answer(question=question)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_documented_class_raises_it_and_the_model_can_be_used_on(rig, threads):
    def luck(gold, pred, trace=None):
        return int(pred.answer.encode().hex()[-4:], 16) / 0xFFFF

    model = rig()
    questions = [{"question": f"What is {n}?", "answer": str(n)} for n in range(6)]
    with dspy.context(lm=model.lm):
        with pytest.raises(ProgramError, match="The program met FileNotFoundError"):
            GEPA(luck, num_trials=3, num_threads=threads).compile(
                Answer(), trainset=questions, valset=questions
            )
        assert Answer()(question="What is 5?").answer
