"""Several attempts of one program at one input, each judged by a reward that sees no expected answer.

What `dspy.BestOfN` and `dspy.Refine` do, without what makes them unfit for measurement: they keep count of
failures over all inputs, so that threads decide the result; they print; they swallow a provider's failure,
which is missing data; and they return None where every attempt failed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, LMError

from skill_fleet.foundation.errors import MetricError, ProviderError
from skill_fleet.llm.halt import Halt

PERFECT = 1.0
MOST = 64
"""Attempts of one answer, most."""
_STRIDE = 1000

Reward = Callable[[dict[str, Any], Any], Any]
Step = tuple[str, Mapping[str, Any], Any]
Adviser = Callable[["Attempt"], Mapping[str, str]]


@dataclass(frozen=True)
class Attempt:
    """One whole run of a program.

    Attributes:
        inputs: What the program was given.
        prediction: What it answered.
        reward: How good that is, in [0, 1].
        trace: DSPy's trace of the run.
        steps: The trace as (predictor's name, inputs, outputs).
    """

    inputs: Mapping[str, Any]
    prediction: Any
    reward: float
    trace: list[Any]
    steps: tuple[Step, ...]


def attempts(
    program: dspy.Module,
    n: int,
    reward: Reward,
    inputs: Mapping[str, Any],
    *,
    adviser: Adviser | None = None,
    hinting: Callable[[dspy.Module, Mapping[str, str]], Any] | None = None,
) -> Iterator[Attempt]:
    """Up to `n` attempts, until one has reward 1.

    The first is the answer one would get without: it is journaled where the plain program was measured. The
    others are drawn anew, at temperature 1, each with a rollout of its own that depends on the caller's
    rollout and on nothing else. An attempt that cannot be read, or in which the program's code fails, is left
    out.

    Args:
        program: Left as it is.
        n: Attempts, most.
        reward: `(inputs, prediction)` -> a number in [0, 1], or a bool.
        inputs: Of the program.
        adviser: Says after an attempt what each predictor should do otherwise; empty where it has nothing.
        hinting: A DSPy adapter that shows advice to the predictors of a program.

    Raises:
        LMError: A model call failed for good; that is no property of the program.
        ProviderError: The same.
        MetricError: The reward broke.
        Exception: No attempt could be read; the error of the first.
    """
    failure: Exception | None = None
    made: Attempt | None = None
    advice: Mapping[str, str] = {}
    for number in range(n):
        try:
            adapter = {"adapter": hinting(program, advice)} if hinting is not None and advice else {}
            with dspy.context(**adapter):
                prediction, trace, steps = _drawn(program, inputs, number)
        except Exception as error:
            if of_provider(error):
                raise
            failure = failure or error
            continue
        made = Attempt(inputs, prediction, rewarded(reward, inputs, prediction), trace, steps)
        yield made
        if made.reward >= PERFECT:
            return
        if adviser is not None and number < n - 1:
            advice = adviser(made) or advice
    if made is None and failure is not None:
        raise failure


def best_of(found: Iterator[Attempt]) -> Attempt:
    """The attempt of highest reward, the first of equals; its trace goes on to DSPy's."""
    best = max(found, key=lambda attempt: attempt.reward)
    if dspy.settings.trace is not None:
        dspy.settings.trace.extend(best.trace)
    return best


def rewarded(reward: Reward, inputs: Mapping[str, Any], prediction: Any) -> float:
    """The reward as a number in [0, 1].

    Raises:
        MetricError: It raised, or returned something else.
    """
    name = getattr(reward, "__name__", type(reward).__name__)
    try:
        value = reward(dict(inputs), prediction)
    except (LMError, ProviderError):
        raise  # a judge's model that does not answer is missing data, not a broken reward
    except (Halt, KeyboardInterrupt):
        raise
    except BaseException as error:  # a SystemExit too: a reward does not end the process
        raise MetricError(
            f"The reward {name} raised {type(error).__name__}: {str(error)[:300]}.",
            hint="A reward returns a number in [0, 1] for any prediction, also for an empty one.",
        ) from error
    if not isinstance(value, int | float) or math.isnan(value) or not 0.0 <= value <= 1.0:
        raise MetricError(
            f"The reward {name} returned {str(value)[:200]}, which is no number in [0, 1].",
            hint="Return a number in [0, 1] or a bool.",
        )
    return float(value)


def of_provider(error: BaseException) -> bool:
    """Whether an exception of a program goes back to a model call that failed, not to what was answered."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, AdapterParseError):
            return False
        if isinstance(link, (LMError, ProviderError)):
            return True
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return False


def at_rollout(program: dspy.Module, rollout: Callable[[int], int]) -> dspy.Module:
    """A copy of a program whose predictors draw at temperature 1.

    Args:
        program: Left as it is.
        rollout: The rollout of the copy, of that of the model.
    """
    copy = program.deepcopy()
    for _, predictor in copy.named_predictors():
        lm = predictor.lm or dspy.settings.lm
        if lm is not None:
            predictor.lm = lm.copy(rollout_id=rollout(lm.kwargs.get("rollout_id") or 0), temperature=1.0)
    return copy


def _drawn(
    program: dspy.Module, inputs: Mapping[str, Any], number: int
) -> tuple[Any, list[Any], tuple[Step, ...]]:
    # Apart from the small numbers that optimizers and create-skill draw by.
    module = program if number == 0 else at_rollout(program, lambda own: _STRIDE * (own + 1) + number)
    names = {id(predictor): name for name, predictor in module.named_predictors()}
    with dspy.context(trace=[]):
        prediction = module(**inputs)
        trace = list(dspy.settings.trace)
    steps = tuple((names.get(id(one), ""), given, said) for one, given, said in trace)
    return prediction, trace, steps
