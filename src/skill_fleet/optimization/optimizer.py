"""What an optimizer is: how it describes itself, what it would cost, and what it does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.optimization.search import Effort, Search


@dataclass(frozen=True)
class Parameter:
    """One setting of an optimizer.

    Attributes:
        name: The option's name.
        type: `int`, `float` or `choice`.
        default: What holds when it is not given.
        range: Allowed values, in words.
        meaning: What it does to this optimizer.
    """

    name: str
    type: str
    default: Any
    range: str
    meaning: str


@dataclass(frozen=True)
class Capabilities:
    """What an optimizer promises; `OptimizerConformance` holds it to each.

    The defaults promise most: one that says nothing is asked for everything.

    Attributes:
        phases: Whose models it asks, each at least once in a search.
        seeded: Another seed makes another search.
        tracked: It measures candidates on the whole validation set with `dspy.Evaluate`, so that the best so
            far survives a search that is stopped.
        learns: It learns from examples or from feedback. One that does not can gain nothing from the offline
            model, which knows nothing of its own.
    """

    phases: tuple[Phase, ...] = ("evaluation",)
    seeded: bool = True
    tracked: bool = True
    learns: bool = True


@dataclass(frozen=True)
class OptimizerInfo:
    """What a person wants to know before choosing an optimizer."""

    name: str
    description: str
    changes: tuple[str, ...]
    needs: str
    cost: str
    parameters: tuple[Parameter, ...]
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True)
class Interval:
    """A range in which a number is expected to lie, both ends included."""

    low: float
    high: float

    def plus(self, other: "Interval") -> "Interval":
        """The sum of two expected numbers."""
        return Interval(self.low + other.low, self.high + other.high)

    def times(self, other: "Interval") -> "Interval":
        """The product of two expected numbers, neither negative."""
        return Interval(self.low * other.low, self.high * other.high)


@dataclass(frozen=True)
class Sizes:
    """What the number of calls depends on.

    Attributes:
        train: Training examples.
        validation: Validation examples.
        predictors: Predictors to optimize.
        calls_per_run: Model calls of one run of the program.
        effort: How far to search.
    """

    train: int
    validation: int
    predictors: int
    calls_per_run: Interval
    effort: Effort


class Optimizer(Protocol):
    """A translation to one of DSPy's optimizers."""

    info: OptimizerInfo

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase, at most what the round can make."""
        ...

    def improve(self, search: Search) -> dspy.Module:
        """The best program found.

        Raises:
            Halt: The search was stopped; what it saw is with the tracker.
        """
        ...
