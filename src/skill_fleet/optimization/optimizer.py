"""What an optimizer is: how it describes itself, what it would cost, and what it does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import dspy

from skill_fleet.config.settings import Phase
from skill_fleet.optimization.interval import Interval
from skill_fleet.optimization.search import Effort, Search

__all__ = [
    "Capabilities",
    "Choosy",
    "CostlyAnswers",
    "Fit",
    "Interval",
    "Optimizer",
    "OptimizerInfo",
    "Parameter",
    "Sizes",
]


@dataclass(frozen=True)
class Parameter:
    """One setting of an optimizer.

    Attributes:
        name: The option's name.
        type: `int`, `float` or `choice`.
        default: What holds when it is not given.
        range: Allowed values; of a number `>= N` or `N-M`, else in words.
        meaning: What it does to this optimizer.
    """

    name: str
    type: str
    default: Any
    range: str
    meaning: str

    def allows(self, value: float) -> bool:
        """Whether a number is in the range; a range in words allows every number."""
        if least := re.fullmatch(r">= (\d+)", self.range):
            return value >= int(least[1])
        if both := re.fullmatch(r"(\d+)-(\d+)", self.range):
            return int(both[1]) <= value <= int(both[2])
        return True


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
        modules: It can be kept to some of the predictors; for one that cannot, `--module` is refused.
    """

    phases: tuple[Phase, ...] = ("evaluation",)
    seeded: bool = True
    tracked: bool = True
    learns: bool = True
    modules: bool = True


@dataclass(frozen=True)
class Fit:
    """When an optimizer is recommended (`--optimizer auto`).

    Attributes:
        rung: Its place on the ladder, tried from the lowest; None is never recommended, only chosen by name.
        min_train: Fewest training examples with which it is of use.
        words: It learns from what the metric says in words.
        answers: It needs data that hold the answers of the predictors themselves.
    """

    rung: int | None = None
    min_train: int = 1
    words: bool = False
    answers: bool = False


@dataclass(frozen=True)
class OptimizerInfo:
    """What a person wants to know before choosing an optimizer.

    Attributes:
        name: What it is chosen by.
        description: What it does.
        changes: Of a program: `instructions`, `demos`, `inference`.
        needs: What it needs to be of use.
        cost: What it costs, in words.
        parameters: Its settings.
        capabilities: What it promises.
        shows: Examples that the prompt of a proposal shows, at most; it sizes the price.
        fit: When it is recommended.
    """

    name: str
    description: str
    changes: tuple[str, ...]
    needs: str
    cost: str
    parameters: tuple[Parameter, ...]
    capabilities: Capabilities = Capabilities()
    shows: int = 3
    fit: Fit = Fit()


@dataclass(frozen=True)
class Sizes:
    """What the number of calls depends on.

    Attributes:
        train: Training examples.
        validation: Validation examples.
        predictors: Predictors to optimize.
        calls_per_run: Model calls of one run of the program.
        effort: How far to search.
        labeled: Predictors whose answers the data hold; None where that is not known.
        same_teacher: Demonstrations are made by the model that is evaluated, so that runs without
            demonstrations of the data are those of the baseline, which are in the journal.
        perfectible: Some answers have full marks: a search passes over what has nothing to teach, and repeats
            itself where little is left to improve.
        round: 1, or 2 for any later one, which starts from what the one before has found.
    """

    train: int
    validation: int
    predictors: int
    calls_per_run: Interval
    effort: Effort
    labeled: int | None = None
    same_teacher: bool = False
    perfectible: bool = False
    round: int = 1


class Optimizer(Protocol):
    """A translation to one of DSPy's optimizers."""

    info: OptimizerInfo

    def estimate_calls(self, sizes: Sizes) -> Mapping[str, Interval]:
        """Calls of one round by phase.

        `low` and `high` say where they are likely to lie, about 9 times in 10; `bound` what a round never
        passes. What the baseline has measured is in the journal and is no call: the program as it is on
        training and validation examples. An equal request is one call, however often it is made.
        """
        ...

    def improve(self, search: Search) -> dspy.Module:
        """The best program found.

        Raises:
            Halt: The search was stopped; what it saw is with the tracker.
        """
        ...


@runtime_checkable
class Choosy(Protocol):
    """What an optimizer also has if it does not take every combination of settings in range."""

    def refused(self, effort: Effort) -> str:
        """Why it does not take these, in one sentence; empty where it does."""
        ...


@runtime_checkable
class CostlyAnswers(Protocol):
    """What an optimizer also has if its result runs the program more than once for one answer."""

    def runs_per_answer(self, effort: Effort) -> Interval:
        """Runs of the program for one answer of the result."""
        ...
