"""A score, the absence of one, and what anything that scores must offer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Score:
    """How good one prediction is.

    Attributes:
        value: Quality in [0, 1], higher is better.
        parts: What the value is made of, each in [0, 1].
        feedback: Words an optimizer can learn from: imperative sentences, the weightiest first.
        by_part: The sentences of `feedback` that a part gave rise to.

    Raises:
        ValueError: The value or a part is not a finite number in [0, 1].
    """

    value: float
    parts: Mapping[str, float] = field(default_factory=dict)
    feedback: str = ""
    by_part: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, number in {"value": self.value, **self.parts}.items():
            if not (math.isfinite(number) and 0.0 <= number <= 1.0):
                raise ValueError(f"The score's {name} is {number!r}, not a number in [0, 1].")


@dataclass(frozen=True)
class NoScore:
    """Missing data: why there is no score. Never to be read as 0.

    Attributes:
        reason: `provider` (a model call failed), `truncated`, `content_filter` or `empty` (the model gave no
            whole answer), `metric_error` (the metric broke), `environment` (a file or a connection of the
            program's own failed).
        message: What happened, for people.
        attempts: How many were made at the model call that was given up; None where none was.
        finish_reason: Why the provider ended its answer, in its words; None where it did not say.
    """

    reason: str
    message: str
    attempts: int | None = None
    finish_reason: str | None = None


@runtime_checkable
class Metric(Protocol):
    """Anything that scores predictions, for our measurements and for DSPy's optimizers.

    Implementations are called from several threads at once and keep no state between calls.
    """

    @property
    def name(self) -> str:
        """How reports call it."""
        ...

    def score(self, gold: Any, pred: Any) -> Score:
        """The score of one prediction against its gold example.

        Raises:
            MetricError: The metric broke; this is no score of the prediction.
        """
        ...

    def metric(
        self, gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
    ) -> Any:
        """DSPy's metric: a float in [0, 1] when `pred_name` is None, else what `feedback` returns.

        Raises:
            Halt: The metric broke: inside a search an exception would be read as 0.
        """
        ...

    def feedback(self, gold: Any, pred: Any, trace: Any, pred_name: str | None, pred_trace: Any) -> Any:
        """GEPA's metric: `dspy.Prediction(score, feedback)`, the feedback meant for the predictor named.

        Raises:
            Halt: As for `metric`.
        """
        ...
