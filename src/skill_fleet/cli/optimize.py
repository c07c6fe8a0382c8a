"""`optimize`, and `estimate`, which is the same command line with nothing spent."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from skill_fleet.cli.options import (
    Globals,
    Json,
    MaxCalls,
    MaxCost,
    MaxMinutes,
    NoInput,
    Quiet,
    Yes,
    from_here,
    globals_of,
    opened,
    screen,
)
from skill_fleet.cli.screen import Screen

if TYPE_CHECKING:
    from skill_fleet.services.context import Context
    from skill_fleet.services.optimization import Prepared

Auto = Literal["light", "medium", "heavy"]
Count = Annotated[int | None, typer.Option(min=1, metavar="N")]


def optimize(
    ctx: typer.Context,
    program: Annotated[
        str | None, typer.Option(metavar="NAME|MODULE:CLASS", help="What to optimize.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="What scores; default: skill quality.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--training-data", "--data", metavar="FILE", help="Training set; default: the shipped."),
    ] = None,
    skills: Annotated[
        str | None, typer.Option(metavar="DIR", help="Make the training set of a skill library.")
    ] = None,
    val_data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Validation examples; default: split off.")
    ] = None,
    test_data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Sealed test examples; default: split off.")
    ] = None,
    holdout: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="A group that is the sealed test; repeatable.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="See: skill-fleet optimizers.")
    ] = None,
    auto: Annotated[Auto | None, typer.Option(help="How far to search.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Instead of --auto, the optimizer's own measure.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most rounds.")] = None,
    max_bootstrapped_demos: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Demonstrations the program makes.")
    ] = None,
    max_labeled_demos: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Demonstrations taken from the data.")
    ] = None,
    num_threads: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Examples under way at a time.")
    ] = None,
    module: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this predictor; repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that runs the program being optimized.")
    ] = None,
    profiling_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that makes demonstrations.")
    ] = None,
    optimization_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Model that proposes instructions.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model that scores.")] = None,
    reward: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Prefers an answer, for best_of_n and refine."),
    ] = None,
    min_groups: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Fewest independent groups to split.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the split and the search.")] = None,
    max_cost: MaxCost = None,
    max_calls: MaxCalls = None,
    max_minutes: MaxMinutes = None,
    output: Annotated[
        str | None, typer.Option(metavar="DIR|FILE", help="Where to publish the program.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would take.")] = False,
    yes: Yes = False,
    no_input: NoInput = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Make a program better and measure whether it is.

    It is published only if the sealed test shows that it is better than what was there.

    With no option at all: the skill program on the shipped training set with the configured model, the
    built-in offline simulator where none is.
    """
    context = opened(
        ctx,
        optimization__optimizer=optimizer,
        optimization__auto=auto,
        optimization__trials=trials,
        optimization__rounds=rounds,
        optimization__max_bootstrapped_demos=max_bootstrapped_demos,
        optimization__max_labeled_demos=max_labeled_demos,
        optimization__num_threads=num_threads,
        optimization__min_groups=min_groups,
        optimization__seed=seed,
        budget__max_cost=max_cost,
        budget__max_calls=max_calls,
        budget__max_minutes=max_minutes,
    )
    models = {
        "evaluation": model,
        "profiling": profiling_model,
        "optimization": optimization_model,
        "judge": judge_model,
    }
    asked = {
        "program": program,
        "metric": metric,
        "data": data,
        "skills": skills,
        "val_data": val_data,
        "test_data": test_data,
        "holdout": tuple(holdout or ()),
        "modules": tuple(module or ()),
        "models": {phase: name for phase, name in models.items() if name is not None},
        "output": None if output is None else from_here(output),
        "reward": reward,
    }
    view = screen(as_json=as_json, quiet=quiet)
    only_price = dry_run or ctx.info_name == "estimate"
    ask = not (yes or no_input)
    return _optimized(context, asked, view, globals_of(ctx), only_price=only_price, ask=ask)


def _optimized(
    context: "Context", asked: dict[str, Any], view: Screen, before: Globals, *, only_price: bool, ask: bool
) -> int:
    from skill_fleet.cli.running import carried_out
    from skill_fleet.services.optimization import estimate_optimization, prepare_optimization, request_of

    prepared = prepare_optimization(context, request_of(context, asked))
    if only_price:
        from skill_fleet.cli.show_run import shown_estimate

        value = estimate_optimization(prepared)
        view.data(value, shown_estimate)
        return 0
    if ask and sys.stdin.isatty() and not _agreed(prepared, view):
        view.note("Nothing was started.")
        return 0
    return carried_out(context, prepared, view, before)


def _agreed(prepared: "Prepared", view: Screen) -> bool:
    """Whether the user wants it at this price; what costs nothing is not asked."""
    from skill_fleet.cli.numbers import between, dollars
    from skill_fleet.services.optimization import estimate_optimization

    value = estimate_optimization(prepared)
    if value["usd"] is not None and value["usd"][1] <= 0:
        return True
    price = "an unknown cost" if value["usd"] is None else between(value["usd"], dollars)
    cap = prepared.plan.request.limits.usd
    capped = "" if cap is None else f", at most {dollars(cap)}"
    view.warn(f"This takes about {between(value['calls'])} calls and {price}{capped}.")
    return typer.confirm("Start?", err=True)
