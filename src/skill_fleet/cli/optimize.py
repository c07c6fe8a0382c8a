"""`optimize`, and the same command line with nothing spent: `estimate` and `recommend`."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps, PhaseModels, Search
from skill_fleet.cli.options import (
    Globals,
    Json,
    Metric,
    Module,
    NoInput,
    Quiet,
    Yes,
    from_here,
    globals_of,
    opened,
    screen,
)
from skill_fleet.cli.screen import Screen
from skill_fleet.foundation.errors import UsageError

if TYPE_CHECKING:
    from skill_fleet.services.context import Context
    from skill_fleet.services.optimization import Prepared


@grouped
def optimize(
    ctx: typer.Context,
    program: Annotated[
        str | None, typer.Option(metavar="NAME|MODULE:CLASS", help="What to optimize.")
    ] = None,
    metric: Metric = None,
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
    search: Search = Search(),
    module: Module = None,
    models: PhaseModels = PhaseModels(),
    reward: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Prefers an answer, for best_of_n and refine."),
    ] = None,
    caps: Caps = Caps(),
    output: Annotated[
        str | None, typer.Option(metavar="DIR|FILE", help="Where to publish the program.")
    ] = None,
    profile: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Size the price by N training examples with the real model."),
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
    context = opened(ctx, search.settings(), caps.settings())
    asked = {
        "program": program,
        "metric": metric,
        "data": data,
        "skills": skills,
        "val_data": val_data,
        "test_data": test_data,
        "holdout": tuple(holdout or ()),
        "modules": tuple(module or ()),
        "models": models.by_phase(),
        "output": None if output is None else from_here(output),
        "reward": reward,
    }
    view = screen(as_json=as_json, quiet=quiet)
    if ctx.info_name == "recommend":
        named = search.optimizer not in {None, "auto"}
        _refuse_idle({"--optimizer": named, "--profile": profile, "--output": output})
        return _recommended(context, asked, view)
    only_price = dry_run or ctx.info_name == "estimate"
    ask = not (yes or no_input)
    before = globals_of(ctx)
    return _optimized(context, asked, view, before, only_price=only_price, ask=ask, profile=profile)


def _refuse_idle(given: Mapping[str, object]) -> None:
    """Options of `optimize` that would change nothing in a recommendation."""
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} says nothing to recommend: it tells which optimizer to take.",
                hint="For what one of them would take: skill-fleet estimate.",
            )


def _recommended(context: "Context", asked: dict[str, Any], view: Screen) -> int:
    from skill_fleet.cli.show_recommendation import shown_recommendation
    from skill_fleet.services.optimization import request_of
    from skill_fleet.services.recommendation import recommend_optimizer

    view.data(recommend_optimizer(context, request_of(context, asked)), shown_recommendation)
    return 0


def _optimized(
    context: "Context",
    asked: dict[str, Any],
    view: Screen,
    before: Globals,
    *,
    only_price: bool,
    ask: bool,
    profile: int | None,
) -> int:
    from skill_fleet.cli.running import carried_out
    from skill_fleet.services.optimization import estimate_optimization, prepare_optimization, request_of

    prepared = prepare_optimization(context, request_of(context, asked))
    if (recommendation := prepared.plan.request.recommendation) is not None:
        from skill_fleet.cli.show_recommendation import said_recommendation

        for line in said_recommendation(recommendation):
            view.note(line)
    if profile is not None:
        prepared = _profiled(context, prepared, profile, view)
    if only_price:
        from skill_fleet.cli.show_run import shown_estimate

        value = estimate_optimization(prepared)
        view.data(value, shown_estimate)
        return 0
    if ask and sys.stdin.isatty() and not _agreed(prepared, view):
        view.note("Nothing was started.")
        return 0
    return carried_out(context, prepared, view, before)


def _profiled(context: "Context", prepared: "Prepared", examples: int, view: Screen) -> "Prepared":
    """Sized by a few real examples, once it is said what they take."""
    from skill_fleet.cli.numbers import between, dollars, several
    from skill_fleet.cli.running import worked
    from skill_fleet.services.optimization import price_of_profile, profile_optimization

    price = price_of_profile(prepared, examples)
    usd = "an unknown cost" if price["usd"] is None else between(price["usd"], dollars)
    runs = f"{several(price['examples'], 'training example')} with {prepared.plan.models.names['evaluation']}"
    view.warn(f"The profile runs {runs}: about {between(price['calls'])} calls and {usd}.")
    return worked(
        view,
        "Profiling",
        lambda control, done: profile_optimization(
            context, prepared, examples, control=control, on_done=done
        ),
    )


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
    for warning in value["warnings"]:
        view.warn(warning["message"])
    return typer.confirm("Start?", err=True)
