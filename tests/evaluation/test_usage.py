"""What an answer takes is counted in whatever thread, without the metric's calls, and unknown is not zero."""

import dspy
import pytest
from dspy.lm15 import Message, Response, TextPart, Usage

from skill_fleet.evaluation.runner import measure
from skill_fleet.evaluation.usage import AnswerUsage, Tokens, UsageMeter, cost_per_answer
from skill_fleet.evaluation.user_metric import adapt_metric


class Engine:
    """A model that always says yes; it tells its usage, or nothing."""

    def __init__(self, usage):
        self.usage = usage

    def __deepcopy__(self, memo):
        return self

    def complete(self, request):
        message = Message.assistant([TextPart("[[ ## answer ## ]]\nyes\n\n[[ ## completed ## ]]")])
        return Response(id=None, model="scripted", message=message, finish_reason="stop", usage=self.usage)

    def close(self):
        pass


class Twice(dspy.Module):
    """Asks two times, in threads of DSPy's own."""

    def __init__(self):
        super().__init__()
        self.step = dspy.Predict("question -> answer")

    def forward(self, question):
        pairs = [(self.step, {"question": f"{question} {n}"}) for n in range(2)]
        return dspy.Parallel(num_threads=2, disable_progress_bar=True)(pairs)[0]


def asked(usage, program):
    lm = dspy.LM("scripted/one", engine=Engine(usage), cache=False, num_retries=0)
    examples = [dspy.Example(question=str(n), answer="yes").with_inputs("question") for n in range(3)]

    def metric(gold, pred, trace=None):
        dspy.Predict("said -> answer")(said=pred.answer)
        return 1.0 if gold.question != "0" else 0.0

    # One example at a time: the progress bars of `dspy.Parallel` (tqdm) trip over each other in threads.
    return measure(program, examples, adapt_metric(metric), lm=lm, num_threads=1)


def test_calls_of_the_program_are_counted_in_all_its_threads_and_those_of_the_metric_are_not():
    found = asked(Usage(input_tokens=10, output_tokens=3, total_tokens=13), Twice())
    assert [one.usage for one in found.outcomes] == [
        AnswerUsage(2, {"scripted/one": Tokens(input=20, output=6)})
    ] * 3
    cost = cost_per_answer([one.usage for one in found.outcomes], {"scripted/one": (0.5, 2.0)})
    assert cost.to_json() == {"calls": 2.0, "tokens": 26.0, "usd": 22.0}


def test_an_answer_that_does_not_say_its_usage_makes_the_mean_unknown():
    found = asked(Usage(input_tokens=None, output_tokens=None, total_tokens=None), Twice())
    cost = cost_per_answer([one.usage for one in found.outcomes], {"scripted/one": (0.5, 2.0)})
    assert (cost.calls, cost.tokens, cost.usd) == (2.0, None, None)


@pytest.mark.parametrize("prices", [{}, {"a/b": None}])
def test_an_unknown_price_is_not_zero(prices):
    cost = cost_per_answer([AnswerUsage(1, {"a/b": Tokens(1, 1)})], prices)
    assert cost.tokens == 2.0
    assert cost.usd is None


def test_an_answer_without_a_call_costs_nothing_and_no_answer_has_no_cost():
    assert cost_per_answer([UsageMeter().taken()], {}).to_json() == {"calls": 0, "tokens": 0, "usd": 0}
    assert cost_per_answer([], {}) is None


@pytest.mark.parametrize(
    ("model", "prompt", "answer"),
    [("gemini/m", 10, 8), ("xai/m", 10, 8), ("anthropic/m", 14, 3), ("openai/m", 10, 3)],
)
def test_tokens_that_a_provider_counts_apart_are_an_answers_too(model, prompt, answer):
    meter = UsageMeter()
    entry = {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5 if "x" in model or "gem" in model else 2},
    }
    meter.add_usage(model, entry)
    assert meter.taken().tokens == {model: Tokens(prompt, answer)}
