"""Several attempts at one input: which are made, what they are told, and what a failure means."""

import re

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from skill_fleet.core.dspy.advice import HINT, Hinting, advise
from skill_fleet.core.dspy.attempts import attempts, best_of
from skill_fleet.core.programs.recipes.sampled import refined
from skill_fleet.foundation.errors import MetricError
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel, request_text

ADVISES = "assign blame"


class Line:
    """A model that says which call it is, and remembers what it was asked by what rollout."""

    def __init__(self, advice='{"self": "Say less."}', unreadable=0):
        self.advice = advice
        self.asked = []
        self._unreadable = unreadable

    def __call__(self, request):
        text = request_text(request)
        if ADVISES in text:
            self.asked.append(("advice", text))
            return f"[[ ## discussion ## ]]\nIt was long.\n\n[[ ## advice ## ]]\n{self.advice}\n"
        rollout = current_call().rollout
        self.asked.append((rollout, text))
        if len(self.asked) <= self._unreadable:
            return "no form at all"
        return f"[[ ## answer ## ]]\nattempt {len(self.rollouts)}\n\n[[ ## completed ## ]]"

    @property
    def rollouts(self):
        return [kind for kind, _ in self.asked if kind != "advice"]


def number(inputs, prediction):
    """A tenth for every attempt."""
    return int(re.findall(r"\d+", prediction.answer)[0]) / 10


def made(rig, line, n=3, reward=number, how=attempts, **options):
    model = rig(ScriptedModel(answer=line), **options)
    with dspy.context(lm=model.lm):
        return list(how(dspy.Predict("question -> answer"), n, reward, {"question": "q"}))


def test_the_first_is_the_plain_answer_and_the_others_are_drawn_apart(rig):
    line = Line()
    found = made(rig, line, 4)
    assert [one.prediction.answer for one in found] == ["attempt 1", "attempt 2", "attempt 3", "attempt 4"]
    assert line.rollouts[0] is None
    assert len(set(line.rollouts)) == 4
    again = Line()
    made(rig, again, 4)
    assert again.rollouts == [], "every attempt is in the journal under its own rollout"


def test_attempts_at_another_rollout_are_others(rig):
    seen = []
    for rollout in (None, 1, 2):
        line = Line()
        model = rig(ScriptedModel(answer=line))
        lm = model.lm if rollout is None else model.lm.copy(rollout_id=rollout, temperature=1.0)
        with dspy.context(lm=lm):
            list(attempts(dspy.Predict("question -> answer"), 3, number, {"question": "q"}))
        seen += line.rollouts
    assert len(seen) == len(set(seen)) == 9


def test_a_perfect_reward_ends_it(rig):
    line = Line()
    found = made(rig, line, 5, lambda args, pred: number(args, pred) >= 0.2)
    assert [one.reward for one in found] == [0.0, 1.0]


def test_the_best_is_the_first_of_equals_and_its_trace_goes_on(rig):
    model = rig(ScriptedModel(answer=Line()))
    with dspy.context(lm=model.lm, trace=[]):
        predict = dspy.Predict("question -> answer")
        best = best_of(
            attempts(predict, 3, lambda args, pred: number(args, pred) > 0.1 and 0.5, {"question": "q"})
        )
        assert best.prediction.answer == "attempt 2"
        assert [step[2].answer for step in dspy.settings.trace] == ["attempt 2"]


def test_an_attempt_that_cannot_be_read_is_left_out(rig):
    line = Line(unreadable=2)  # DSPy asks a second time, in JSON
    assert [one.prediction.answer for one in made(rig, line, 3)] == ["attempt 3", "attempt 4"]


def test_where_none_can_be_read_the_first_error_is_raised(rig):
    with pytest.raises(AdapterParseError):
        made(rig, Line(unreadable=99), 3)


@pytest.mark.parametrize("how", [attempts, refined])
def test_a_failing_model_is_no_bad_attempt(rig, how):
    def fault(number, request):
        if number == 2:
            raise dspy.ContextWindowExceededError(model="scripted")

    model = rig(ScriptedModel(answer=Line(), fault=fault), on_failure="raise")
    with dspy.context(lm=model.lm), pytest.raises(dspy.ContextWindowExceededError):
        list(how(dspy.Predict("question -> answer"), 3, number, {"question": "q"}))


@pytest.mark.parametrize("value", [None, float("nan"), 1.01, -0.1, 45, "good", [1.0]], ids=str)
def test_a_reward_that_is_no_number_of_0_to_1_is_an_error(rig, value):
    with pytest.raises(MetricError, match=r"which is no number in \[0, 1\]"):
        made(rig, Line(), 2, lambda args, pred: value)


def test_a_reward_that_breaks_is_an_error_that_names_it(rig):
    def broken(args, pred):
        raise KeyError("queue")

    with pytest.raises(MetricError, match="broken raised KeyError"):
        made(rig, Line(), 2, broken)


def test_a_judge_in_a_reward_that_does_not_answer_is_missing_data(rig):
    def judged(args, pred):
        raise dspy.LMServerError("x")

    with pytest.raises(dspy.LMServerError):
        made(rig, Line(), 2, judged)


def test_a_reward_cannot_change_the_inputs(rig):
    def greedy(args, pred):
        args["question"] = "another"
        return 0.0

    line = Line()
    made(rig, line, 2, greedy)
    assert all("another" not in text for _, text in line.asked)


def test_advice_is_asked_between_attempts_and_shown_to_the_next(rig):
    line = Line()
    found = made(rig, line, 3, how=refined)
    kinds = ["advice" if kind == "advice" else "answer" for kind, _ in line.asked]
    assert kinds == ["answer", "advice", "answer", "advice", "answer"]
    assert [HINT in text for kind, text in line.asked if kind != "advice"] == [False, True, True]
    assert "Say less." in line.asked[2][1]
    asked = line.asked[1][1]
    for shown in ("attempt 1", "A tenth for every attempt.", "0.1", "question"):
        assert shown in asked
    assert [one.reward for one in found] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("advice", ["nothing", "[]", "{}", '"x"'])
def test_advice_that_cannot_be_used_is_none(rig, advice):
    line = Line(advice)
    assert len(made(rig, line, 2, how=refined)) == 2
    assert HINT not in line.asked[-1][1]


def test_each_predictor_reads_its_own_hint(rig):
    model = rig(ScriptedModel())
    seen = []

    class Seeing(dspy.ChatAdapter):
        def __call__(self, lm, lm_kwargs, signature, demos, inputs):
            seen.append((next(iter(signature.output_fields)), inputs[HINT]))
            return super().__call__(lm, lm_kwargs, signature, demos, inputs)

    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first = dspy.Predict("question -> thought")
            self.second = dspy.ChainOfThought("thought -> answer")

        def forward(self, question):
            return self.second(thought=self.first(question=question).thought)

    program = Two()
    with dspy.context(lm=model.lm, adapter=Seeing()):
        hinting = Hinting(program, {"second.predict": "Short."})
        with dspy.context(adapter=hinting):
            program(question="q")
    assert seen == [("thought", "N/A"), ("reasoning", "Short.")]


def test_advice_names_the_predictors_and_reads_what_they_did(rig):
    line = Line()
    model = rig(ScriptedModel(answer=line))
    with dspy.context(lm=model.lm, trace=[]):
        predict = dspy.Predict("question -> answer")
        attempt = next(attempts(predict, 1, number, {"question": "why so"}))
        assert advise(predict, number, attempt) == {"self": "Say less."}
        assert [step[0] for step in attempt.steps] == ["self"]
        assert len(dspy.settings.trace) == 0, "neither an attempt nor advice is part of the program's trace"
