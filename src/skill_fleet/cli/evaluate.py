"""`evaluate`."""

from typing import TYPE_CHECKING, Annotated

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps, Measure
from skill_fleet.cli.options import (
    Json,
    Quiet,
    opened,
    screen,
)
from skill_fleet.cli.validate import Targets

if TYPE_CHECKING:
    from skill_fleet.cli.screen import Screen
    from skill_fleet.services.context import Context


@grouped
def evaluate(
    ctx: typer.Context,
    targets: Targets = None,
    program: Annotated[
        str | None, typer.Option(metavar="FILE|RUN|NAME", help="Measure a program instead of skills.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Examples for --program; default: the training set.")
    ] = None,
    measure: Measure = Measure(),
    caps: Caps = Caps(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say how good skills are, or how good a program is.

    Skills are scored by their text alone, without a model: a floor, not a ranking. A program is run on
    every example; examples without a score are listed and count in no mean.
    """
    from skill_fleet.foundation.errors import UsageError

    view = screen(as_json=as_json, quiet=quiet)
    context = opened(ctx, caps.settings())
    if program is None:
        given = [*([] if data is None else ["data"]), *measure.given()]
        if given or caps != Caps():
            first = f"--{given[0].replace('_', '-')}" if given else "A cap"
            raise UsageError(f"{first} belongs to --program: skills are scored by their text alone.")
        return _skills(context, targets or [], view)
    if targets:
        raise UsageError("--program excludes targets: either skills are scored, or a program is measured.")
    from skill_fleet.cli.running import worked
    from skill_fleet.cli.show_measured import shown_program
    from skill_fleet.services.measuring import evaluate_program

    how = measure.how(context, data)
    value = worked(
        view,
        "Measuring",
        lambda control, done: evaluate_program(context, program, how, control=control, on_done=done),
    )
    view.data(value, shown_program)
    return 0


def _skills(context: "Context", targets: list[str], view: "Screen") -> int:
    from skill_fleet.cli.show_skills import shown_evaluation
    from skill_fleet.services.evaluation import evaluate_skills

    value = evaluate_skills(context, targets)
    view.data(value, lambda found: shown_evaluation(found, wide=view.width >= 100))
    return 0
