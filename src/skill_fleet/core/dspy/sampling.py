"""`BestOfN`: several candidates, the one of highest reward. DSPy's module with the documented arguments."""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import dspy

from skill_fleet.foundation.errors import UsageError

_DSPY_FIRST = frozenset({"args", "inputs", "kwargs", "arguments"})


class BestOfN(dspy.Module):
    """Runs a module up to `n` times with different rollouts and returns the prediction of highest reward.

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
        self.n = count
        self._best = dspy.BestOfN(module, count, _in_dspy_order(reward_fn), _ceiling(threshold))

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """The best of `n` predictions."""
        return self._best(**inputs)


def _ceiling(threshold: float | None) -> float:
    return math.inf if threshold is None else threshold


def _in_dspy_order(reward_fn: Callable[..., float]) -> Callable[[dict[str, Any], dspy.Prediction], float]:
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
        return lambda args, prediction: float(reward_fn(args, prediction))
    if len(names) == 1:
        return lambda _args, prediction: float(reward_fn(prediction))
    return lambda _args, prediction: float(reward_fn(prediction, None))
