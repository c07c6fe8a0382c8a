import threading
import time
from dataclasses import replace

import dspy
import pytest
from dspy.lm15 import Message, Response, TextPart, Usage
from dspy.utils.exceptions import LMTimeoutError

from skill_fleet.evaluation.measurement import Measurement, Outcome, paired
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.score import NoScore, Score
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.errors import (
    BudgetExhausted,
    DataError,
    MetricError,
    ProgramError,
    ProviderError,
    UsageError,
)
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.halt import Halt


class Engine:
    """A model without a journal: `script` gets the last message and returns (text, finish reason)."""

    def __init__(self, script):
        self.script = script
        self.calls = 0
        self.in_flight = 0
        self.lock = threading.Lock()

    def __deepcopy__(self, memo):
        return self

    def complete(self, request):
        with self.lock:
            self.calls += 1
            self.in_flight += 1
        try:
            text, reason = self.script(request.messages[-1].text)
        finally:
            with self.lock:
                self.in_flight -= 1
        usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
        message = Message.assistant([TextPart(text)])
        return Response(id=None, model="scripted", message=message, finish_reason=reason, usage=usage)

    def close(self):
        pass


def model(script):
    engine = Engine(script)
    return dspy.LM("scripted/one", engine=engine, cache=False, num_retries=0), engine


def filled(value):
    return f"[[ ## answer ## ]]\n{value}\n\n[[ ## completed ## ]]", "stop"


def asked(message):
    return message.split("[[ ## question ## ]]\n")[1].split("\n")[0].strip()


def half_right(message):
    return filled("yes" if int(asked(message)) % 2 else "no")


def questions(n):
    fields = ({"question": str(i), "answer": "yes", "id": f"q{i}", "group": f"g{i % 3}"} for i in range(n))
    return [dspy.Example(**one).with_inputs("question") for one in fields]


def same(gold, pred, trace=None):
    return {"score": float(pred.answer == gold.answer), "feedback": f"expected {gold.answer}"}


EXACT = adapt_metric(same)


def program():
    return dspy.Predict("question -> answer")


def timeless(measurement):
    return [replace(one, seconds=0.0) for one in measurement.outcomes]


def test_results_are_in_input_order_and_equal_at_any_number_of_threads():
    def staggered(message):
        time.sleep(0.004 * (7 - int(asked(message)) % 7))
        return half_right(message)

    seen = {}
    for threads in (1, 2, 8):
        lm, engine = model(staggered)
        seen[threads] = measure(program(), questions(21), EXACT, lm=lm, num_threads=threads)
        assert engine.calls == 21
    assert timeless(seen[1]) == timeless(seen[2]) == timeless(seen[8])
    one = seen[8].outcomes[4]
    assert (one.item_id, one.group, one.score.value, one.score.feedback) == ("q4", "g1", 0.0, "expected yes")
    assert seen[1].mean == pytest.approx(10 / 21)
    assert seen[1].pass_share(0.8) == pytest.approx(10 / 21)
    assert all(outcome.seconds > 0.003 for outcome in seen[8].outcomes)


def test_the_model_given_is_the_one_used_also_by_a_judge_and_in_every_thread():
    def judge(gold, pred):
        return dspy.settings.lm is lm

    lm, _ = model(half_right)
    found = measure(program(), questions(8), adapt_metric(judge), lm=lm, num_threads=4)
    assert found.mean == 1.0


def test_progress_is_told_in_the_callers_thread():
    told = []
    lm, _ = model(half_right)
    measure(
        program(),
        questions(9),
        EXACT,
        lm=lm,
        num_threads=3,
        on_outcome=lambda done, total, one: told.append((done, total, one.item_id, threading.get_ident())),
    )
    assert [done for done, *_ in told] == list(range(1, 10))
    assert {total for _, total, *_ in told} == {9}
    assert {item for _, _, item, _ in told} == {f"q{i}" for i in range(9)}
    assert {thread for *_, thread in told} == {threading.get_ident()}


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("provider", LMTimeoutError("no answer in 60 s")),
        ("provider", ProviderError("The key was refused.")),
        ("truncated", UnusableAnswer("The answer was cut off.", code="truncated")),
        ("content_filter", UnusableAnswer("Withheld.", code="content_filter")),
        ("empty", UnusableAnswer("Nothing.", code="empty")),
    ],
)
def test_a_failed_call_is_missing_data_and_never_a_zero(reason, fault):
    def failing(message):
        if asked(message) in {"1", "4"}:
            raise fault
        return half_right(message)

    lm, _ = model(failing)
    found = measure(program(), questions(10), EXACT, lm=lm, num_threads=4)
    assert [one.item_id for one in found.excluded] == ["q1", "q4"]
    assert {one.no_score.reason for one in found.excluded} == {reason}
    assert found.mean == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    "answer",
    [
        ("[[ ## answer ## ]]\nye", "length"),
        ("[[ ## ans", "length"),
        ("[[ ## answer ## ]]\nyes", "content_filter"),
        ("", "stop"),
    ],
)
def test_a_model_without_our_guard_cannot_pass_a_broken_answer_off_as_a_whole_one(answer):
    lm, _ = model(lambda message: answer if asked(message) == "3" else half_right(message))
    found = measure(program(), questions(8), EXACT, lm=lm, num_threads=2)
    assert [one.item_id for one in found.excluded] == ["q3"]
    assert found.excluded[0].no_score.reason in {"truncated", "content_filter", "empty"}


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        (UnusableAnswer("Withheld.", code="content_filter"), "Use another model for such tasks"),
        (UnusableAnswer("The answer was cut off.", code="truncated"), "Raise max_tokens"),
        (LMTimeoutError("no answer in 60 s"), "Check the model, its key and its limits."),
    ],
)
def test_where_most_calls_fail_the_advice_is_that_of_their_failure(fault, hint):
    def failing(_message):
        raise fault

    lm, _ = model(failing)
    with pytest.raises(ProviderError) as caught:
        measure(program(), questions(6), EXACT, lm=lm, num_threads=2)
    assert caught.value.hint.startswith(hint)


def test_a_judge_that_was_cut_off_gives_no_score():
    def judge(gold, pred):
        verdict = dspy.Predict("question -> answer")(question=f"9{gold.question}")
        return verdict.answer == "yes"

    def script(message):
        return ("[[ ## answer ## ]]\nno", "length") if asked(message) == "91" else filled("yes")

    lm, _ = model(script)
    found = measure(program(), questions(4), adapt_metric(judge), lm=lm, num_threads=2)
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q1", "truncated")]


def test_a_whole_answer_that_cannot_be_parsed_is_the_programs_own_fault():
    lm, _ = model(lambda m: ("I would rather not.", "stop") if asked(m) == "3" else filled("yes"))
    found = measure(program(), questions(6), EXACT, lm=lm, num_threads=2)
    assert found.excluded == ()
    assert found.scores()["q3"] == 0.0
    assert "could not be parsed" in found.outcomes[3].score.feedback
    assert "'answer'" in found.outcomes[3].score.feedback


def test_a_failed_call_wrapped_by_the_program_is_still_a_failed_call():
    class Wrapping(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = program()

        def forward(self, question):
            try:
                return self.inner(question=question)
            except LMTimeoutError as error:
                raise RuntimeError("the step failed") from error

    def script(message):
        if asked(message) == "2":
            raise LMTimeoutError("slow")
        return filled("yes")

    lm, _ = model(script)
    found = measure(Wrapping(), questions(6), EXACT, lm=lm, num_threads=2)
    assert [one.no_score.reason for one in found.excluded] == ["provider"]


class Buggy(dspy.Module):
    def __init__(self, error, hits):
        super().__init__()
        self.error, self.hits = error, hits

    def forward(self, question):
        if self.hits(int(question)):
            raise self.error
        return dspy.Prediction(answer="yes")


def test_a_program_that_raises_on_some_examples_scores_zero_there():
    lm, _ = model(half_right)
    found = measure(Buggy(KeyError("lost"), lambda i: i == 2), questions(6), EXACT, lm=lm, num_threads=2)
    assert found.scores()["q2"] == 0.0
    assert "KeyError" in found.outcomes[2].score.feedback
    assert found.mean == pytest.approx(5 / 6)


def test_a_program_that_returns_nothing_scores_zero_unless_its_answer_was_cut_off():
    class Forgetful(dspy.Module):
        def __init__(self):
            super().__init__()
            self.inner = program()

        def forward(self, question):
            self.inner(question=question) if int(question) < 2 else None
            return None if int(question) < 3 else dspy.Prediction(answer="yes")

    def script(message):
        return ("[[ ## answer ## ]]\nye", "length") if asked(message) == "1" else filled("yes")

    lm, _ = model(script)
    found = measure(Forgetful(), questions(8), EXACT, lm=lm, num_threads=2)
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q1", "truncated")]
    assert found.scores() == {"q0": 0.0, "q2": 0.0, **{f"q{n}": 1.0 for n in range(3, 8)}}
    assert found.outcomes[0].score.feedback == "The program returned None."


def test_a_program_that_raises_everywhere_stops_with_the_cause():
    lm, _ = model(half_right)
    with pytest.raises(ProgramError, match="KeyError: 'lost'"):
        measure(Buggy(KeyError("lost"), lambda i: True), questions(6), EXACT, lm=lm, num_threads=2)


@pytest.mark.parametrize(
    "error", [ConnectionError("reset"), TimeoutError("slow"), PermissionError("a file"), OSError(28, "full")]
)
def test_a_broken_file_or_connection_of_the_program_is_missing_data(error):
    lm, _ = model(half_right)
    found = measure(Buggy(error, lambda i: i < 2), questions(8), EXACT, lm=lm, num_threads=2)
    assert [one.no_score.reason for one in found.excluded] == ["environment"] * 2


def test_a_metric_that_breaks_is_missing_data_and_stops_when_it_breaks_everywhere():
    def fragile(gold, pred):
        return 1.0 if gold.question != "3" else None

    def broken(gold, pred):
        return pred.confidence

    lm, _ = model(half_right)
    found = measure(program(), questions(8), adapt_metric(fragile), lm=lm, num_threads=2)
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q3", "metric_error")]
    with pytest.raises(MetricError, match="broken raised AttributeError"):
        measure(program(), questions(8), adapt_metric(broken), lm=lm, num_threads=2)


def test_past_the_failed_share_the_most_frequent_cause_is_raised_and_no_more_is_spent():
    def refused(message):
        raise LMTimeoutError("connection refused by host")

    lm, engine = model(refused)
    with pytest.raises(ProviderError, match="connection refused by host") as raised:
        measure(program(), questions(100), EXACT, lm=lm, num_threads=1, max_failed_share=0.1)
    assert raised.value.exit_code == 6
    assert engine.calls == 6, "it is clear before the eleventh"


def test_at_the_failed_share_the_measurement_stands():
    def every_second(message):
        if int(asked(message)) % 2:
            raise LMTimeoutError("slow")
        return filled("yes")

    lm, _ = model(every_second)
    found = measure(program(), questions(8), EXACT, lm=lm, num_threads=3)
    assert (found.mean, len(found.excluded)) == (1.0, 4)


@pytest.mark.parametrize("threads", [1, 4])
def test_halt_reaches_the_caller_after_the_calls_in_flight_and_starts_no_other(threads):
    halted_at = threading.Event()
    started_after = []
    finished = []

    def script(message):
        number = int(asked(message))
        if halted_at.is_set():
            started_after.append(number)
        if number == 5:
            halted_at.set()
            raise Halt("budget", BudgetExhausted("The cap of 5 calls is reached."))
        time.sleep(0.05)
        finished.append(number)
        return filled("yes")

    lm, engine = model(script)
    with pytest.raises(Halt) as halted:
        measure(program(), questions(60), EXACT, lm=lm, num_threads=threads)
    assert halted.value.cause == "budget"
    assert engine.in_flight == 0, "raised before the calls in flight had ended"
    assert len(finished) == engine.calls - 1
    # A call that was on its way to the model when the Halt was raised may still start.
    assert len(started_after) < threads


def test_a_callback_that_raises_ends_the_measurement_drained():
    def angry(done, total, outcome):
        raise RuntimeError("listener")

    lm, engine = model(half_right)
    with pytest.raises(RuntimeError, match="listener"):
        measure(program(), questions(50), EXACT, lm=lm, num_threads=4, on_outcome=angry)
    assert engine.in_flight == 0
    assert engine.calls < 50


def test_ids_and_groups():
    lm, _ = model(half_right)
    bare = [dspy.Example(question=str(i), answer="yes").with_inputs("question") for i in range(2)]
    found = measure(program(), bare, EXACT, lm=lm, num_threads=1)
    assert [(one.item_id, one.group) for one in found.outcomes] == [
        (f"item-000{i}", f"item-000{i}") for i in (1, 2)
    ]
    with pytest.raises(DataError, match="'q0'"):
        measure(program(), questions(1) * 2, EXACT, lm=lm, num_threads=1)
    with pytest.raises(UsageError, match="num_threads"):
        measure(program(), bare, EXACT, lm=lm, num_threads=0)


def test_nothing_to_measure_has_no_mean():
    lm, _ = model(half_right)
    found = measure(program(), [], EXACT, lm=lm, num_threads=2)
    assert (found.mean, found.pass_share(0.8), found.outcomes) == (None, None, ())


def outcome(item, value, group="g"):
    if value is None:
        return Outcome(item, group, None, NoScore("provider", "timeout"), 0.0)
    return Outcome(item, group, Score(value), None, 0.0)


def test_what_failed_for_one_is_left_out_of_both():
    a = Measurement((outcome("x", 0.1), outcome("y", None), outcome("z", 0.3, "h"), outcome("w", 0.8)))
    b = Measurement((outcome("z", 0.9, "h"), outcome("x", 0.5), outcome("y", 0.6), outcome("w", None)))
    assert paired(a, b) == ([0.1, 0.3], [0.5, 0.9], ["g", "h"])
    with pytest.raises(DataError, match="not of the same examples"):
        paired(a, Measurement((outcome("x", 0.1),)))


def test_a_share_counts_the_threshold_itself():
    found = Measurement(
        (outcome("x", 0.8), outcome("y", 0.7999), outcome("z", None), outcome("w", 0.1 + 0.7))
    )
    assert found.pass_share(0.8) == pytest.approx(2 / 3)
