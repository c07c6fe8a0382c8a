"""Defects of DSPy's optimizers that ours work around: when one of these fails, DSPy has mended it."""

import dspy
import pytest
from dspy.teleprompt import COPRO, SIMBA, InferRules, KNNFewShot
from dspy.utils.callback import BaseCallback
from dspy.utils.dummies import DummyLM
from triage import TriageProgram, exact, tickets
from two_steps import TwoSteps

from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.llm.offline.model import OfflineModel, model_name
from skill_fleet.optimization.optimizers.copro import UnchainedCOPRO


@pytest.fixture
def offline(silent_dspy):
    """The offline model as DSPy's own, with nothing of ours between."""
    lm = dspy.LM(model_name(), engine=OfflineModel(), cache=False, num_retries=0)
    with dspy.context(lm=lm, disable_history=True, max_errors=10**9):
        yield lm


def examples(count):
    chosen = tickets()[::5][:count]
    return [dspy.Example(ticket=one["ticket"], queue=one["queue"]).with_inputs("ticket") for one in chosen]


def score(gold, pred, trace=None):
    return exact(gold, pred).score


def test_infer_rules_changes_the_student_and_returns_the_last_candidate(offline):
    class Note(dspy.Signature):
        """Write a note."""

        ticket: str = dspy.InputField()
        queue: str = dspy.OutputField()

    student = dspy.Predict(Note)
    optimizer = InferRules(metric=score, num_candidates=2, max_bootstrapped_demos=1, max_labeled_demos=0)
    said = iter(["first rules", "last rules"])
    optimizer.rules_induction_program = lambda _examples: next(said)
    marks = iter([90.0, 10.0])
    optimizer.evaluate_program = lambda _program, _dataset: next(marks)
    found = optimizer.compile(student, trainset=examples(3), valset=examples(3))
    assert found.signature.instructions.endswith("last rules")
    assert student.signature.instructions.endswith("last rules")


def simba(metric, batch, **options):
    return SIMBA(metric=metric, bsize=batch, num_candidates=2, max_steps=1, num_threads=1, **options)


def test_simba_writes_into_the_model_it_is_given_and_evaluates_out_of_sight(offline):
    class Seen(BaseCallback):
        passes = 0

        def on_evaluate_start(self, call_id, instance, inputs):
            self.passes += 1

    seen = Seen()
    teacher = offline.copy()
    assert "rollout_id" not in teacher.kwargs
    with dspy.context(callbacks=[seen]):
        simba(score, 4, teacher_settings={"lm": teacher}).compile(TriageProgram(), trainset=examples(4))
    assert teacher.kwargs["rollout_id"] == 0
    assert seen.passes == 0


def test_simba_wants_as_many_examples_as_a_batch_has(offline):
    with pytest.raises(AssertionError, match="Trainset too small"):
        simba(score, 5).compile(TriageProgram(), trainset=examples(4))


def test_simba_asks_the_metric_about_a_prediction_that_does_not_exist(offline):
    class Broken(TriageProgram):
        def forward(self, ticket):
            raise ValueError("no answer")

    asked = []
    simba(lambda gold, pred: asked.append(pred) or 0.0, 2, max_demos=0).compile(
        Broken(), trainset=examples(2)
    )
    assert set(asked) == {None}


def test_copro_says_no_more_than_exception_when_it_is_cancelled(offline):
    def broken(gold, pred, trace=None):
        raise ValueError("no score")

    optimizer = COPRO(prompt_model=offline, metric=broken, breadth=2, depth=1)
    with dspy.context(max_errors=1), pytest.raises(Exception, match="Execution cancelled") as caught:
        optimizer.compile(TriageProgram(), trainset=examples(3), eval_kwargs={"num_threads": 1})
    assert caught.type is Exception


def test_labeled_few_shot_draws_by_a_seed_of_its_own():
    draws = [dspy.LabeledFewShot(k=2).compile(TriageProgram(), trainset=examples(9)) for _ in range(2)]
    assert draws[0].triage.demos == draws[1].triage.demos


def test_knn_few_shot_is_saved_as_the_student_it_was_given():
    """Why it is not offered: what it found is no part of its state."""
    student = TriageProgram()
    vectorizer = dspy.Embedder(lambda texts: [[float(len(text))] for text in texts], caching=False)
    with dspy.context(lm=DummyLM([{"queue": "billing"}])):
        found = KNNFewShot(k=2, trainset=examples(4), vectorizer=vectorizer).compile(student)
    assert clean_state(found) == clean_state(student)


def deep(optimizer, depth):
    """A search of that depth over a program of two predictors, on two examples."""
    made = optimizer(prompt_model=dspy.settings.lm, metric=score, breadth=5, depth=depth)
    options = {"num_threads": 1, "display_progress": False, "display_table": False}
    return made.compile(TwoSteps(), trainset=examples(2), eval_kwargs=options)


def test_copro_hangs_its_candidates_on_one_chain_until_it_cannot_be_copied(offline):
    with pytest.raises(RecursionError):
        deep(COPRO, 5)


def test_ours_does_not_and_is_the_same_search(offline):
    assert len(deep(UnchainedCOPRO, 5).predictors()) == 2
    stock, ours = (deep(optimizer, 2) for optimizer in (COPRO, UnchainedCOPRO))
    assert clean_state(ours) == clean_state(stock)
    assert ours.total_calls == stock.total_calls
    assert [one["instruction"] for one in ours.candidate_programs] == [
        one["instruction"] for one in stock.candidate_programs
    ]
