"""`BestOfN`: several candidates, the one of highest reward. DSPy's idea with the documented arguments."""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import dspy

from skill_fleet.foundation.errors import UsageError

_DSPY_FIRST = frozenset({"args", "inputs", "kwargs", "arguments"})

Reward = Callable[[dict[str, Any], dspy.Prediction, list[Any]], Any]


class BestOfN(dspy.Module):
    """Runs a module up to `n` times with different rollouts and returns the prediction of highest reward.

    As `dspy.BestOfN` does, with three differences: a candidate that fails is left out and, where none is
    left, its error is raised (DSPy returns None); a reward function that breaks is an error; nothing is
    printed.

    Args:
        module: The module; best a single predictor. A reward of the last step says little about the others,
            so a program of several predictors draws a warning.
        n: Candidates.
        reward_fn: `(prediction, trace)` or `(prediction)` as documented here, or DSPy's `(args, prediction)`,
            recognised by its first parameter's name (`args`, `inputs`); higher is better.
        threshold: A reward from which no further candidate is made; None makes all `n`.
        N: DSPy's spelling of `n`.

    Raises:
        UsageError: `n` is below 1 or the reward function takes no such arguments.
    """

    def __init__(
        self,
        module: dspy.Module,
        n: int = 3,
        reward_fn: Callable[..., float] | None = None,
        threshold: float | None = None,
        *,
        N: int | None = None,  # noqa: N803 - DSPy's spelling
    ) -> None:
        super().__init__()
        count = n if N is None else N
        if count < 1:
            raise UsageError(f"BestOfN needs at least one candidate, not n={count}.")
        if reward_fn is None:
            raise UsageError("BestOfN needs a reward_fn.")
        predictors = [name for name, _ in module.named_predictors()]
        if len(predictors) > 1:
            warnings.warn(
                f"BestOfN wraps a program of {len(predictors)} predictors: every candidate runs all of them, "
                f"and one reward cannot tell which of them was good.",
                stacklevel=2,
            )
        self.module = module
        self.n = count
        self.threshold = math.inf if threshold is None else threshold
        self._reward = _in_one_order(reward_fn)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The best of `n` predictions; of equals the first.

        Raises:
            UsageError: The reward is not a number.
        """
        best: tuple[float, dspy.Prediction, list[Any]] | None = None
        failure: Exception | None = None
        for number in range(self.n):
            try:
                prediction, trace = self._candidate(number, inputs)
            except Exception as error:  # noqa: BLE001 - the other candidates may be whole; raised if none is
                failure = failure or error
                continue
            reward = _number(self._reward(inputs, prediction, trace))
            if best is None or reward > best[0]:
                best = (reward, prediction, trace)
            if reward >= self.threshold:
                break
        if best is None:
            raise failure or UsageError("BestOfN made no candidate.")
        if dspy.settings.trace is not None:
            dspy.settings.trace.extend(best[2])
        return best[1]

    def _candidate(self, number: int, inputs: dict[str, Any]) -> tuple[dspy.Prediction, list[Any]]:
        module = self.module.deepcopy()
        for _, predictor in module.named_predictors():
            lm = predictor.lm or dspy.settings.lm
            if lm is not None:
                first = lm.kwargs.get("rollout_id") or 0
                predictor.lm = lm.copy(rollout_id=first + number, temperature=1.0)
        with dspy.context(trace=[]):
            prediction = module(**inputs)
            return prediction, list(dspy.settings.trace)


def _number(reward: Any) -> float:
    try:
        value = float(reward)
    except (TypeError, ValueError):
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"The reward_fn of BestOfN returned {reward!r}, by which nothing can be compared.")
    return value


def _in_one_order(reward_fn: Callable[..., float]) -> Reward:
    names = [
        parameter.name
        for parameter in inspect.signature(reward_fn).parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    if not names:
        raise UsageError(
            "The reward_fn of BestOfN takes no positional argument; it needs (prediction, trace)."
        )
    if names[0] in _DSPY_FIRST and len(names) >= 2:
        return lambda args, prediction, _trace: reward_fn(args, prediction)
    if len(names) == 1:
        return lambda _args, prediction, _trace: reward_fn(prediction)
    return lambda _args, prediction, trace: reward_fn(prediction, trace)
