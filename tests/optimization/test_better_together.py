"""BetterTogether without fine-tuning: two searches in one, and none of stock's defects."""

import dspy
import pytest
from dspy.teleprompt import BetterTogether as Stock
from dspy.teleprompt import Teleprompter

from skill_fleet.foundation.errors import ProgramError
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.conformance import tickets
from skill_fleet.optimization.conformance.bench import Bench, Case
from skill_fleet.optimization.optimizers.better_together import BetterTogether

EXAMPLES = [dspy.Example(ticket=f"t{n}", queue="bugs").with_inputs("ticket") for n in range(4)]


class Fails(Teleprompter):
    def compile(self, student, *, trainset):
        raise ValueError("A step of the sequence went wrong.")


class Passes(Teleprompter):
    def compile(self, student, *, trainset):
        return student.deepcopy()


def queue(gold, pred, trace=None):
    return float(gold.queue == pred.queue)


def ask(step, lm):
    program = tickets.TriageProgram()
    program.set_lm(lm)
    with dspy.context(lm=lm, max_errors=10**9):
        return Stock(metric=queue, step=step).compile(
            program, trainset=list(EXAMPLES), valset=list(EXAMPLES), strategy="step"
        )


@pytest.fixture
def answering(rig):
    text = "[[ ## queue ## ]]\nbugs\n\n[[ ## completed ## ]]"
    return rig(ScriptedModel(answer=lambda _request: text)).lm


@pytest.mark.usefixtures("silent_dspy")
def test_stock_swallows_what_goes_wrong_in_a_step(answering):
    found = ask(Fails(), answering)
    assert found.flag_compilation_error_occurred


@pytest.mark.usefixtures("silent_dspy")
def test_stock_leaves_models_inside_and_wants_them_there(answering):
    assert ask(Passes(), answering).triage.lm is answering
    with pytest.raises(ValueError, match="LM"):
        Stock(metric=queue, step=Passes()).compile(
            tickets.TriageProgram(), trainset=list(EXAMPLES), strategy="step"
        )


@pytest.fixture(scope="module")
def bench():
    made = Bench(BetterTogether, trials=2)
    yield made
    made.close()


def test_both_are_changed_and_no_model_is_left_inside(bench):
    done = bench.whole
    state = done.found.triage
    assert state.demos
    assert state.signature.instructions != tickets.Triage.instructions
    assert state.lm is None
    assert done.gain > 0


def test_the_second_step_starts_from_what_the_first_found(bench, monkeypatch):
    given = []
    stock = dspy.GEPA.compile

    def compile_(self, student, **arguments):
        given.append((list(student.triage.demos), student.triage.lm))
        return stock(self, student, **arguments)

    monkeypatch.setattr(dspy.GEPA, "compile", compile_)
    bench.search("whole", Case())
    [(demos, lm)] = given
    assert demos == bench.whole.found.triage.demos
    assert lm is None, "models are those of the phases"


@pytest.mark.parametrize("step", [dspy.BootstrapFewShotWithRandomSearch, dspy.GEPA])
@pytest.mark.usefixtures("silent_dspy")
def test_what_goes_wrong_in_a_step_is_told(place, monkeypatch, step):
    def fails(*_args, **_options):
        raise ValueError("A step of the sequence went wrong.")

    monkeypatch.setattr(step, "compile", fails)
    finished = place.optimize(place.request("better_together", trials=2, rounds=1))
    assert finished.result.status == "failed"
    assert isinstance(finished.error, ProgramError)
    assert "ValueError: A step of the sequence went wrong." in finished.error.message
    assert finished.result.published is None
