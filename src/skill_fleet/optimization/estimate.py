"""A price before the run: calls, tokens, dollars and minutes, as an interval.

Calls and tokens of one run of the program are sized by running it on a few training examples with the
built-in offline model: no money, no network. A real model writes longer or shorter, so the interval is wide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy

from skill_fleet.config.settings import ModelSpec, Phase
from skill_fleet.llm.engine import Traffic
from skill_fleet.llm.offline.model import OfflineModel
from skill_fleet.llm.pricing import price_of
from skill_fleet.optimization.foresight import ASSUMED_SD, foresee
from skill_fleet.optimization.optimizer import Interval, Sizes
from skill_fleet.optimization.plan import Plan
from skill_fleet.optimization.search import Effort

_SIZED_ON = 3
_SECONDS_A_CALL = Interval(0.5, 6.0)
_EFFICIENCY = 0.45  # of threads, where an optimizer works in small batches
_OFFLINE_SECONDS_A_CALL = Interval(0.0005, 0.01)
_LENGTH = Interval(0.7, 3.0)  # a real answer against the simulator's, in tokens


@dataclass(frozen=True)
class RunSize:
    """One run of a program: model calls, and tokens of a call."""

    calls: Interval
    input_tokens: float
    output_tokens: float


def effort_of(plan: Plan) -> Effort:
    """How far the request wants to search."""
    request = plan.request
    return Effort(
        request.auto,
        request.trials,
        request.max_bootstrapped_demos,
        request.max_labeled_demos,
        request.num_threads,
    )


def estimate_calls(plan: Plan, size: RunSize) -> dict[str, Interval]:
    """Calls of the whole run by phase: measurements, all rounds, sealed test."""
    request = plan.request
    predictors = len(plan.entry.build().named_predictors())
    sizes = Sizes(
        train=len(plan.split.train),
        validation=len(plan.split.validation),
        predictors=len(request.modules) or predictors,
        calls_per_run=size.calls,
        effort=effort_of(plan),
    )
    calls = dict(plan.optimizer.estimate_calls(sizes))
    # A later round starts only when the one before gained something.
    rounds = Interval(1, request.rounds)
    calls = {phase: each.times(rounds) for phase, each in calls.items()}
    first, test = sizes.train + sizes.validation, len(plan.split.test)
    own = Interval(first + test, first + 3 * test + sizes.validation * request.rounds)
    calls["evaluation"] = calls.get("evaluation", Interval(0, 0)).plus(own.times(size.calls))
    return calls


def estimate(plan: Plan, *, reading: int = 1) -> dict[str, Any]:
    """What a run would take, and about what its sealed test could show.

    Args:
        plan: The run.
        reading: The how-manieth reading of its sealed test it would be.

    Returns:
        `calls`, `tokens`, `usd` (null where a price is unknown), `minutes`, each `[low, high]`, the calls
        by phase and model, and `power`: see `Foresight`, with an assumed spread.
    """
    size = size_of_run(plan)
    calls = estimate_calls(plan, size)
    tokens = Interval(0, 0)
    usd: Interval | None = Interval(0, 0)
    seconds = Interval(0, 0)
    for phase, number in calls.items():
        spec = plan.models.specs[_phase(phase)]
        per_call = _tokens(size)
        tokens = tokens.plus(number.times(per_call))
        dollars = _dollars(spec, size)
        usd = None if usd is None or dollars is None else usd.plus(number.times(dollars))
        pace = _OFFLINE_SECONDS_A_CALL if spec.simulated else _SECONDS_A_CALL
        threads = 1.0 if spec.simulated else float(plan.request.num_threads)
        seconds = seconds.plus(
            number.times(Interval(pace.low / threads, pace.high / (_EFFICIENCY * threads)))
        )
    total = _sum(calls.values())
    return {
        "calls": _rounded(total),
        "tokens": _rounded(tokens),
        "usd": None if usd is None else [round(usd.low, 4), round(usd.high, 4)],
        "minutes": [round(seconds.low / 60, 2), round(seconds.high / 60, 2)],
        "by_phase": {
            phase: {"model": plan.models.names[_phase(phase)], "calls": _rounded(number)}
            for phase, number in sorted(calls.items())
        },
        "power": foresee(plan.split.test, reading, ASSUMED_SD).to_json(),
        "sized_by": "one run of the program on the built-in simulator",
    }


def size_of_run(plan: Plan) -> RunSize:
    """Calls and tokens of one run of the program, seen on a few training examples with the offline model."""
    program = plan.entry.build()
    counter = _Counter(OfflineModel())
    lm = dspy.LM("offline/rules-v1", engine=counter, cache=False)
    calls: list[int] = []
    with dspy.context(lm=lm, disable_history=True):
        for example in plan.examples("train")[:_SIZED_ON]:
            before = counter.calls
            try:
                program(**example.inputs())
            except Exception:  # noqa: BLE001 - a program may refuse the simulator's words; it is sized by its parts
                counter.calls = max(counter.calls, before + len(program.named_predictors()))
            calls.append(counter.calls - before)
    least, most = min(calls), max(calls)
    # A slip of format is asked again in JSON; longer prompts make a step or two more likely to be repaired.
    return RunSize(
        Interval(max(1, least), max(1, most) * 1.15),
        counter.input_tokens / max(1, counter.calls),
        counter.output_tokens / max(1, counter.calls),
    )


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


def _tokens(size: RunSize) -> Interval:
    return Interval(
        size.input_tokens + size.output_tokens * _LENGTH.low,
        # Demonstrations and longer instructions make prompts grow during the search.
        size.input_tokens * 3 + size.output_tokens * _LENGTH.high,
    )


def _dollars(spec: ModelSpec, size: RunSize) -> Interval | None:
    price = price_of(spec)
    if price is None:
        return None
    return Interval(
        size.input_tokens * price.input + size.output_tokens * _LENGTH.low * price.output,
        size.input_tokens * 3 * price.input + size.output_tokens * _LENGTH.high * price.output,
    )


def _phase(name: str) -> Phase:
    phases: Mapping[str, Phase] = {
        "profiling": "profiling",
        "optimization": "optimization",
        "evaluation": "evaluation",
        "judge": "judge",
    }
    return phases[name]


def _sum(numbers: Any) -> Interval:
    total = Interval(0, 0)
    for number in numbers:
        total = total.plus(number)
    return total


def _rounded(number: Interval) -> list[int]:
    return [int(number.low), int(-(-number.high // 1))]


def observed(traffic: Traffic) -> dict[str, int]:
    """Calls made and answered from the journal so far, for progress."""
    return {"made": traffic.made, "from_journal": traffic.from_journal}
