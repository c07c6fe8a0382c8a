"""`compare`."""

from typing import Annotated, Literal

import typer

from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps, Measure
from skill_fleet.cli.options import (
    Json,
    Quiet,
    opened,
    screen,
)


@grouped
def compare(
    ctx: typer.Context,
    a: Annotated[
        str, typer.Argument(metavar="A", help="A published program's name or file, a run, or a class.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What is compared with it.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="C", help="More, each compared with A.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Examples; default: the sealed test of their run.")
    ] = None,
    measure: Measure = Measure(),
    prefer: Annotated[
        Literal["quality", "cheaper"], typer.Option(help="Which one is named as the choice at equal quality.")
    ] = "quality",
    caps: Caps = Caps(),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Say whether B is better than A, example by example.

    C and more are compared with A too. All are measured on the same examples with the same model. The exit
    code is 0 for any verdict.
    """
    from skill_fleet.cli.running import worked
    from skill_fleet.cli.show_measured import shown_comparison
    from skill_fleet.services.comparison import compare_programs

    view = screen(as_json=as_json, quiet=quiet)
    context = opened(ctx, caps.settings())
    how = measure.how(context, data)
    value = worked(
        view,
        "Measuring",
        lambda control, done: compare_programs(
            context, [a, b, *(more or [])], how, prefer=prefer, control=control, on_done=done
        ),
    )
    view.data(value, shown_comparison)
    return 0
