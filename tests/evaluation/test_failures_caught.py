"""A call that failed for good is missing data, also where the program or its metric caught the error."""

import asyncio
import contextlib
import contextvars
import threading

import dspy
import pytest
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMInvalidRequestError, LMTimeoutError

from skill_fleet.evaluation.failed_calls import FailedCalls
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.failures import UnusableAnswer
from skill_fleet.llm.testing import ScriptedModel, request_text

HARD = "What is 2?"
EASY = "Say it in short"


def questions(count):
    return [
        dspy.Example(question=f"What is {n}?", answer="yes", id=f"q{n}").with_inputs("question")
        for n in range(count)
    ]


def exact(gold, pred):
    return float(getattr(pred, "answer", None) == gold.answer)


def yes(_request):
    return "[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]"


def failing(error, words=HARD, but=EASY):
    """A model that fails whatever it is asked about with these words."""

    def fault(_number, request):
        asked = request_text(request)
        if words in asked and but not in asked:
            raise error

    return ScriptedModel(answer=yes, fault=fault)


class Around(dspy.Module):
    """Something around a predictor, which answers `?` where that does not."""

    def __init__(self, way):
        super().__init__()
        self.inner = dspy.Predict("question -> answer")
        self.way = way

    def forward(self, question):
        return self.way(self.inner, question) or dspy.Prediction(answer="?")


def caught(inner, question):
    with contextlib.suppress(Exception):
        return inner(question=question)


def in_parallel(inner, question):
    both = [(inner, dspy.Example(question=question).with_inputs("question"))] * 2
    found = dspy.Parallel(num_threads=2, max_errors=10, disable_progress_bar=True)(both)
    return next((one for one in found if one is not None), None)


def stopped_in_parallel(inner, question):
    """DSPy raises an exception that says nothing of the call."""
    both = [(inner, dspy.Example(question=question).with_inputs("question"))] * 2
    return dspy.Parallel(num_threads=2, max_errors=1, disable_progress_bar=True)(both)[0]


def best_of_two(inner, question):
    with contextlib.suppress(Exception):
        return dspy.BestOfN(module=inner, N=2, reward_fn=lambda _args, _pred: 0.5, threshold=1.0)(
            question=question
        )


def gathered(inner, question):
    async def both():
        asked = [inner.acall(question=question) for _ in range(2)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(both())
    return next((one for one in found if not isinstance(one, Exception)), None)


def in_a_thread(inner, question):
    found = []
    context = contextvars.copy_context()
    thread = threading.Thread(target=lambda: context.run(lambda: found.append(caught(inner, question))))
    thread.start()
    thread.join()
    return found[0]


def streamed(inner, question):
    with contextlib.suppress(Exception):
        return list(dspy.streamify(inner, async_streaming=False)(question=question))[-1]


def asked_otherwise(inner, question):
    """Another prompt is answered where the first was not: by design, and only when the provider is ill."""
    return caught(inner, question) or inner(question=f"{question} {EASY}")


def raised_as_its_own(inner, question):
    found = caught(inner, question)
    if found is None:
        raise ValueError("no answer")
    return found


WAYS = (
    caught,
    in_parallel,
    stopped_in_parallel,
    best_of_two,
    gathered,
    in_a_thread,
    streamed,
    asked_otherwise,
    raised_as_its_own,
)


def measured(rig, program, model, metric=exact, judge=None):
    def metered(inner, phase="evaluation"):
        return rig(inner, on_failure="raise", phase=phase, retry=Retry(attempts=2, base=0.0)).lm

    scored = adapt_metric(metric)
    if judge is not None:
        scored = Judged(scored, metered(judge, "judge"))
    return measure(program, questions(5), scored, lm=metered(model), num_threads=2)


@pytest.mark.usefixtures("silent_dspy")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LMTimeoutError("no answer in 60 s"), "provider"),
        (UnusableAnswer("Withheld.", code="content_filter"), "content_filter"),
        (LMInvalidRequestError("Not this.", provider_code="content_filter"), "content_filter"),
        (LMError("Something of the provider's own."), "provider"),
    ],
    ids=["timeout", "withheld", "filtered before any work", "unknown"],
)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_a_program_answers_without_the_call_has_no_score(rig, way, error, reason):
    found = measured(rig, Around(way), failing(error))
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q2", reason)]
    assert found.scores() == {f"q{n}": 1.0 for n in (0, 1, 3, 4)}


@pytest.mark.usefixtures("silent_dspy")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_where_no_call_fails_nothing_is_missing(rig, way):
    found = measured(rig, Around(way), ScriptedModel(answer=yes))
    assert found.scores() == {f"q{n}": 1.0 for n in range(5)}


@pytest.mark.usefixtures("silent_dspy")
def test_a_failure_that_a_retry_mended_is_none(rig):
    met = set()

    def once(_number, request):
        if HARD in request_text(request) and not met:
            met.add(HARD)
            raise LMTimeoutError("no answer in 60 s")

    found = measured(rig, Around(caught), ScriptedModel(answer=yes, fault=once))
    assert met
    assert found.mean == 1.0


REFUSALS = (
    ContextWindowExceededError(message="The prompt is too long."),
    LMInvalidRequestError("no such parameter"),
)


@pytest.mark.parametrize("error", REFUSALS, ids=["too long", "refused"])
def test_a_request_that_is_always_refused_and_asked_otherwise_is_how_the_program_answers(rig, error):
    found = measured(rig, Around(asked_otherwise), failing(error))
    assert found.scores() == {f"q{n}": 1.0 for n in range(5)}


@pytest.mark.parametrize("error", REFUSALS, ids=["too long", "refused"])
def test_a_request_that_is_always_refused_and_not_asked_otherwise_has_no_score(rig, error):
    found = measured(rig, Around(caught), failing(error))
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q2", "provider")]


def test_another_modules_answer_is_none_to_what_was_refused(rig):
    class Two(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first = dspy.Predict("question -> answer")
            self.second = dspy.Predict("text -> answer")

        def forward(self, question):
            caught(self.first, question)
            return self.second(text="anything")

    found = measured(rig, Two(), failing(REFUSALS[0]))
    assert [one.item_id for one in found.excluded] == ["q2"]


def test_a_call_that_was_broken_off_answers_nothing():
    failed = FailedCalls()
    failed.on_lm_end("1", None, REFUSALS[0])
    failed.on_lm_end("2", None, KeyboardInterrupt())
    assert failed.first() is REFUSALS[0]
    failed.on_lm_end("3", ["yes"], None)
    assert failed.first() is None


def by_a_judge(gold, pred):
    verdict = dspy.Predict("question, given -> answer")
    try:
        return float(verdict(question=gold.question, given=pred.answer).answer == "yes")
    except LMTimeoutError:
        return 0.0


def broken_by_its_judge(gold, pred):
    try:
        return by_a_judge(gold, pred) or 1 / 0
    except ZeroDivisionError:
        return None


@pytest.mark.parametrize("metric", [by_a_judge, broken_by_its_judge])
def test_what_a_metric_says_without_its_judge_is_no_score(rig, metric):
    judge = failing(LMTimeoutError("no answer in 60 s"))
    found = measured(rig, dspy.Predict("question -> answer"), ScriptedModel(answer=yes), metric, judge)
    assert [(one.item_id, one.no_score.reason) for one in found.excluded] == [("q2", "provider")]
    assert found.mean == 1.0


def test_an_answer_without_the_call_is_not_shown_to_the_metric(rig):
    """It may be none that a metric can read, and a judge would be paid for it."""
    seen = []

    def noting(gold, pred):
        seen.append(gold.question)
        return 1.0

    measured(rig, Around(caught), failing(LMTimeoutError("no answer in 60 s")), noting)
    assert sorted(seen) == [f"What is {n}?" for n in (0, 1, 3, 4)]
