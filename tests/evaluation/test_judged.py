"""A metric that asks a model: whom it asks, what it leaves no trace of, and what becomes of no answer."""

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.errors import MetricError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.testing import ScriptedModel, request_text

ASK = dspy.Predict("question, answer -> good: bool")
GOOD = "[[ ## good ## ]]\nTrue\n\n[[ ## completed ## ]]"
EXAMPLES = [
    dspy.Example(question=f"What is {number}?", id=f"q{number}").with_inputs("question")
    for number in range(6)
]


def judged(gold, pred, trace=None):
    return float(ASK(question=gold.question, answer=str(pred.answer)).good)


@pytest.fixture
def judge(rig):
    """A judge that says what a function of the request says, and the model behind it."""

    def make(answer, *, fault=None, **options):
        model = ScriptedModel(answer=answer, fault=fault)
        return rig(model, phase="judge", run="judge", **options)

    return make


def good(_request):
    return GOOD


def test_the_metric_asks_the_judge_and_the_program_its_own_model(rig, judge):
    made, target = judge(good), rig(run="target")
    program = dspy.Predict("question -> answer")
    found = measure(program, EXAMPLES, Judged(adapt_metric(judged), made.lm), lm=target.lm, num_threads=3)
    assert found.mean == 1.0
    assert made.spent.by_phase == {"judge": 6}
    assert target.spent.by_phase == {"evaluation": 6}


@pytest.mark.parametrize("face", ["score", "metric", "feedback"])
def test_nothing_of_it_is_recorded_as_the_programs(judge, face):
    made = judge(good)
    metric = Judged(adapt_metric(judged), made.lm)
    gold, pred = EXAMPLES[0], dspy.Prediction(answer="42")
    arguments = {"score": (), "metric": (None,), "feedback": (None, None, None)}[face]
    other = dspy.utils.DummyLM([])
    with dspy.context(lm=other, trace=[], caller_modules=[]):
        value = getattr(metric, face)(gold, pred, *arguments)
        assert dspy.settings.trace == []
        assert dspy.settings.lm is other
    assert float(getattr(value, "value", None) or getattr(value, "score", None) or value) == 1.0


def unreadable_until(attempt):
    def answer(_request):
        return GOOD if (current_call().rollout or 0) >= attempt else "I would rather not say."

    return answer


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_answer_that_cannot_be_read_is_asked_for_again(judge, attempt):
    made = judge(unreadable_until(attempt))
    metric = Judged(adapt_metric(judged), made.lm)
    assert metric.score(EXAMPLES[0], dspy.Prediction(answer="42")).value == 1.0
    assert metric.metric(EXAMPLES[0], dspy.Prediction(answer="42")) == 1.0, "and the journal knows it"
    assert made.spent.calls == 2 * attempt + 1  # each unreadable one was asked for in JSON as well


def test_after_three_the_metric_is_broken_and_nothing_is_scored(judge):
    made = judge(unreadable_until(9))
    metric = Judged(adapt_metric(judged), made.lm)
    with pytest.raises(MetricError, match="judged raised AdapterParseError"):
        metric.score(EXAMPLES[0], dspy.Prediction(answer="42"))
    with pytest.raises(Halt) as caught:
        metric.metric(EXAMPLES[0], dspy.Prediction(answer="42"))
    assert caught.value.cause == "metric"
    assert made.spent.calls == 6


def test_at_temperature_0_another_attempt_is_a_warmer_one(judge):
    from skill_fleet.config.settings import ModelSpec

    seen = []

    def answer(request):
        seen.append(request.config.temperature)
        return unreadable_until(1)(request)

    made = judge(answer, spec=ModelSpec(model="offline/scripted", temperature=0.0))
    assert Judged(adapt_metric(judged), made.lm).metric(EXAMPLES[0], dspy.Prediction(answer="42")) == 1.0
    assert seen == [0.0, 0.0, 1.0]
    assert made.lm.kwargs["temperature"] == 0.0


def test_a_broken_metric_is_not_asked_again(judge):
    made = judge(good)
    calls = []

    def breaks(gold, pred):
        calls.append(gold)
        raise KeyError("answer")

    with pytest.raises(MetricError, match="KeyError"):
        Judged(adapt_metric(breaks), made.lm).score(EXAMPLES[0], dspy.Prediction())
    assert len(calls) == 1


@pytest.mark.parametrize("face", ["score", "metric"])
def test_a_model_of_the_metrics_own_is_refused_before_it_is_called(judge, rig, face):
    made, own = judge(good), dspy.LM("openai/gpt-own", api_key="none", cache=False)
    asking = dspy.Predict("question, answer -> good: bool")
    asking.lm = own

    def elsewhere(gold, pred):
        return asking(question=gold.question, answer=str(pred.answer)).good

    metric = Judged(adapt_metric(elsewhere), made.lm)
    with pytest.raises(Halt, match=r"elsewhere calls a model of its own \(openai/gpt-own\)") as caught:
        getattr(metric, face)(EXAMPLES[0], dspy.Prediction(answer="42"))
    assert caught.value.cause == "metric"
    assert caught.value.error.hint
    asking.lm = dspy.utils.DummyLM([{"good": "True"}])
    free = Judged(adapt_metric(elsewhere), made.lm, own_models=True)
    assert free.metric(EXAMPLES[0], dspy.Prediction(answer="42")) == 1.0


def refuse_after(number):
    def fault(attempt, _request):
        if attempt > number:
            raise LMAuthError("No such key.")

    return fault


def test_a_judge_that_fails_is_missing_data_in_a_measurement_and_no_zero(rig, judge):
    made, target = judge(good, fault=cut_off, on_failure="raise"), rig(run="target")
    found = measure(
        dspy.Predict("question -> answer"),
        EXAMPLES,
        Judged(adapt_metric(judged), made.lm),
        lm=target.lm,
        num_threads=1,
    )
    assert found.mean == 1.0
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q2", "truncated")]


def cut_off(_attempt, request):
    if "What is 2?" in request_text(request):
        raise UnusableAnswer("Cut off.", code="truncated")


def test_inside_a_search_a_judge_that_fails_halts(judge):
    made = judge(good, fault=refuse_after(0))
    metric = Judged(adapt_metric(judged), made.lm)
    with pytest.raises(Halt) as caught:
        metric.metric(EXAMPLES[0], dspy.Prediction(answer="42"))
    assert caught.value.cause == "provider"


def test_a_cap_holds_over_the_judge(judge):
    made = judge(good, limits=Limits(calls=2))
    metric = Judged(adapt_metric(judged), made.lm)
    for example in EXAMPLES[:2]:
        metric.metric(example, dspy.Prediction(answer="42"))
    with pytest.raises(Halt) as caught:
        metric.feedback(EXAMPLES[2], dspy.Prediction(answer="42"), None, None, None)
    assert caught.value.cause == "budget"
    assert made.spent.calls == 2
