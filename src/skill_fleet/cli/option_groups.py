"""Groups of options that commands share: how to search, with which models, and what may be spent.

Each is declared here, once, and turned here into what it means: settings of this workspace for a command that
works here, fields of a body for one that asks a service.
"""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

import typer

from skill_fleet.cli.options import Metric, MinGroups, Model, Threads

if TYPE_CHECKING:
    from skill_fleet.client.records import Budget
    from skill_fleet.llm.budget import Limits
    from skill_fleet.services.context import Context
    from skill_fleet.services.measuring import Measuring


def _dollars(value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise typer.BadParameter(f"{value:g} is no sum of dollars from 0 on.")
    return value


def _minutes(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is no number of minutes above 0.")
    return value


def _given(group: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(group).items() if value is not None}


@dataclass(frozen=True)
class Caps:
    """What may be spent over all of the work, over all its attempts; None is the configured cap."""

    TITLE: ClassVar = "Caps"

    max_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="Cap on dollars.", callback=_dollars)
    ] = None
    max_calls: Annotated[int | None, typer.Option(min=0, metavar="N", help="Cap on model calls.")] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Cap on tokens, sent and answered."),
    ] = None
    max_minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Cap on minutes of running time.", callback=_minutes),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The settings that were given, by their dotted names."""
        return {f"budget.{name}": value for name, value in _given(self).items()}

    def limits(self) -> "Limits":
        """The caps alone, without those of the settings."""
        from skill_fleet.llm.budget import Limits

        return Limits(self.max_cost, self.max_calls, self.max_tokens, self.max_minutes)

    def body(self) -> "Budget | None":
        """As a service takes them; None where none was given."""
        return cast("Budget", _given(self)) or None


def options_of(caps: "Limits") -> str:
    """Caps as they are typed, each with a blank before it; empty where there is none."""
    given = {
        "--max-cost": caps.usd,
        "--max-calls": caps.calls,
        "--max-tokens": caps.tokens,
        "--max-minutes": caps.minutes,
    }
    return "".join(f" {option} {_typed(cap)}" for option, cap in given.items() if cap is not None)


def _typed(number: float) -> str:
    """A number as an option reads it: one that has to be whole takes no exponent."""
    return str(number) if isinstance(number, int) else f"{number:.15g}"


@dataclass(frozen=True)
class Search:
    """How to search for a better program: the settings of `optimization`; None is the configured value."""

    TITLE: ClassVar = "How to search"

    optimizer: Annotated[
        str | None,
        typer.Option(metavar="NAME|auto", help="See: skill-fleet optimizers."),
    ] = None
    auto: Annotated[
        Literal["light", "medium", "heavy"] | None,
        typer.Option(help="How far to search."),
    ] = None
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Instead of --auto, the optimizer's own measure."),
    ] = None
    rounds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most rounds; each starts from the best so far."),
    ] = None
    max_bootstrapped_demos: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Most demonstrations the program makes."),
    ] = None
    max_labeled_demos: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Most demonstrations taken from the data."),
    ] = None
    num_threads: Threads = None
    min_groups: MinGroups = None
    folds: Annotated[
        int | None,
        typer.Option(min=2, metavar="K", help="K-fold on all data instead of a sealed test."),
    ] = None
    repeats: Annotated[
        int | None,
        typer.Option(min=1, metavar="R", help="How often the folds are dealt."),
    ] = None
    prefer: Annotated[
        Literal["quality", "cheaper"] | None,
        typer.Option(help="cheaper: of programs about as good the cheapest."),
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the split and the search.")] = None

    def settings(self) -> dict[str, Any]:
        """The settings that were given, by their dotted names."""
        return {f"optimization.{name}": value for name, value in self.body().items()}

    def body(self) -> dict[str, Any]:
        """The fields of a body that were given."""
        return _given(self)


@dataclass(frozen=True)
class PhaseModels:
    """Which model does what in a run; None is the configured one."""

    TITLE: ClassVar = "Models"

    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Model that runs the program being optimized."),
    ] = None
    profiling_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Model that makes demonstrations."),
    ] = None
    optimization_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Model that proposes instructions."),
    ] = None
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model that scores.")] = None

    def by_phase(self) -> dict[str, str]:
        """The model of each phase that was given one."""
        models = {
            "evaluation": self.model,
            "profiling": self.profiling_model,
            "optimization": self.optimization_model,
            "judge": self.judge_model,
        }
        return {phase: name for phase, name in models.items() if name is not None}


@dataclass(frozen=True)
class Drafting:
    """How a skill is written."""

    best_of: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Drafts; the best is kept.")
    ] = None
    refine: Annotated[
        int | None,
        typer.Option(min=1, max=64, metavar="N", help="Drafts, each with advice on the one before."),
    ] = None

    def given(self) -> dict[str, Any]:
        """What was given, by its name in a request."""
        return _given(self)


@dataclass(frozen=True)
class Measure:
    """By what programs are measured, besides the examples."""

    metric: Metric = None
    model: Model = None
    num_threads: Threads = None

    def how(self, context: "Context", data: str | None) -> "Measuring":
        """How to measure on these examples, the caps from the settings."""
        from skill_fleet.services.measuring import Measuring
        from skill_fleet.services.optimization import limits_of

        limits = limits_of(context.settings)
        return Measuring(data, self.metric, self.model, num_threads=self.num_threads, limits=limits)

    def given(self) -> dict[str, Any]:
        """What was given, by the option's name in Python."""
        return _given(self)
