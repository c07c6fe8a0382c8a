"""What one run of a program takes: model calls, tokens of a call, and of a demonstration.

Seen on a few training examples with the built-in offline model: no money, no network. A profile with the
configured model, `optimization.profile`, replaces what it has seen.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.config.settings import ModelSpec
from skill_fleet.evaluation.attempt import own_model_refused
from skill_fleet.evaluation.judged import Judged
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.optimization.interval import Interval
from skill_fleet.optimization.planning.plan import Plan

BY_SIMULATOR = "a few runs of the program on the built-in simulator"
_SIZED_ON = 12
# A slip of format is asked again in JSON; longer prompts make a step or two more likely to be repaired.
_SLIPS = 1.1
_FULL_MARKS = 1 - 1e-9
# An answer of the judge that cannot be read is asked for three times, each in two forms.
_JUDGED_MOST = 6
_BYTES_A_TOKEN = 4
_TOKENS_A_HEADER = 8


@dataclass(frozen=True)
class JudgeSize:
    """What a metric that asks a model takes to score one answer.

    Attributes:
        calls: Model calls.
        input_tokens: Of a call, on average.
        output_tokens: Of a call, on average.
    """

    calls: Interval
    input_tokens: float
    output_tokens: float


@dataclass(frozen=True)
class RunSize:
    """One run of a program, as it is before a search.

    Attributes:
        calls: Model calls of a run, without those of the metric.
        input_tokens: Of a call, on average.
        output_tokens: Of a call, on average.
        demo_tokens: What one example as a demonstration adds to a call, on average.
        perfectible: Whether full marks are within reach.
        seen: The model this was seen with; None is the simulator.
        seconds: Of a call, with that model; None where it was not timed.
        words: By what it was sized, in words.
        judge: What the metric asks about an answer; None where it asks nothing.
    """

    calls: Interval
    input_tokens: float
    output_tokens: float
    demo_tokens: float = 0.0
    perfectible: bool = False
    seen: ModelSpec | None = None
    seconds: Interval | None = None
    words: str = BY_SIMULATOR
    judge: JudgeSize | None = None


def size_of_run(plan: Plan) -> RunSize:
    """One run of the program, seen on a few training examples with the offline model.

    Raises:
        MetricError: The metric calls a model of its own, which would be paid for.
        ProgramError: The program does.
    """
    program = plan.entry.build()
    counter, asked = _Counter(OfflineModel()), _Counter(OfflineModel())
    lm, judge = (dspy.LM("offline/rules-v1", engine=engine, cache=False) for engine in (counter, asked))
    calls: list[int] = []
    judged: list[int] = []
    demos: list[float] = []
    marks: list[float] = []
    for example in plan.examples("train")[:_SIZED_ON]:
        before, unasked = counter.calls, asked.calls
        with dspy.context(lm=lm, disable_history=True, trace=[]):
            try:
                with dspy.context(callbacks=[own_model_refused(lm)]):
                    answer = program(**example.inputs())
                marks.append(Judged(plan.metric, judge).score(example, answer).value)
                judged.append(asked.calls - unasked)
            except Halt as halt:
                raise halt.error from None
            except (Exception, SystemExit):  # noqa: BLE001 - a program may refuse the simulator's words; it is sized by its parts
                counter.calls = max(counter.calls, before + len(program.named_predictors()))
            demos += demo_sizes(dspy.settings.trace)
        calls.append(counter.calls - before)
    return RunSize(
        calls_of(calls),
        counter.input_tokens / max(1, counter.calls),
        counter.output_tokens / max(1, counter.calls),
        math.fsum(demos) / max(1, len(demos)),
        perfectible(marks),
        judge=_judge_size(judged, asked),
    )


def _judge_size(calls: Sequence[int], asked: "_Counter") -> JudgeSize | None:
    """What the metric asks about an answer; perhaps nothing, where it was not asked about each."""
    if asked.calls == 0:
        return None
    seen = calls_of(calls) if calls else Interval(1, 1)
    least = 0.0 if not calls or min(calls) == 0 else seen.low
    most = _JUDGED_MOST * max(1, *calls, 1)
    return JudgeSize(
        Interval(least, seen.high, most), asked.input_tokens / asked.calls, asked.output_tokens / asked.calls
    )


def perfectible(marks: Sequence[float]) -> bool:
    """Whether full marks are within reach: some answer has them, or marks are all or nothing."""
    return any(mark >= _FULL_MARKS for mark in marks) or (bool(marks) and all(mark == 0 for mark in marks))


def calls_of(seen: Sequence[int]) -> Interval:
    """Calls of a run on average: the mean of some runs, give or take twice its standard error."""
    number = len(seen)
    mean = max(1.0, sum(seen) / number)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in seen) / max(1, number - 1))
    error = 2 * spread / math.sqrt(number)
    return Interval(max(1.0, mean - error), (mean + error) * _SLIPS, 2 * max(1, *seen))


def demo_sizes(trace: Iterable[tuple[Any, Any, Any]]) -> list[float]:
    """Tokens of each step of a run as a demonstration: its fields and their headers."""
    sizes = []
    for _, inputs, outputs in trace:
        values = [*dict(inputs).values(), *dict(outputs).values()]
        size = sum(len(str(value).encode("utf-8", "replace")) for value in values)
        sizes.append(size / _BYTES_A_TOKEN + _TOKENS_A_HEADER * len(values))
    return sizes


class _Counter:
    """An engine that counts."""

    def __init__(self, inner: OfflineModel) -> None:
        self._inner = inner
        self.calls = 0
        self.input_tokens = 0
        self.output_tokens = 0

    def complete(self, request: Any) -> Any:
        response = self._inner.complete(request)
        self.calls += 1
        self.input_tokens += response.usage.input_tokens or 0
        self.output_tokens += response.usage.output_tokens or 0
        return response
