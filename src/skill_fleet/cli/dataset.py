"""`dataset build`, `dataset lint`, `dataset split`, `dataset show`."""

from typing import Annotated, Literal

import typer

from skill_fleet.cli.options import Force, Json, MinGroups, Quiet, opened, screen

File = Annotated[str | None, typer.Argument(metavar="FILE", help="A training set; default: the workspace's.")]
_GATE_FAILED = 4


def build(
    ctx: typer.Context,
    library: Annotated[str, typer.Argument(metavar="DIR", help="A folder with skills below it.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="The training set to write.")],
    group_by: Annotated[
        Literal["plugin", "top"], typer.Option(help="What stays together in a split.")
    ] = "plugin",
    seed: Annotated[int, typer.Option(metavar="N", help="Draws the voices of the tasks.")] = 0,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a training set of a skill library."""
    from skill_fleet.cli.show_data import shown_build
    from skill_fleet.services.dataset import build_dataset

    value = build_dataset(opened(ctx), library, output, group_by=group_by, seed=seed, force=force)
    screen(as_json=as_json, quiet=quiet).data(value, shown_build)


def lint(ctx: typer.Context, file: File = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Say what is wrong with a training set.

    Exit code 4 when something makes measurements worthless.
    """
    from skill_fleet.cli.show_data import shown_lint
    from skill_fleet.services.dataset import lint_dataset

    view = screen(as_json=as_json, quiet=quiet)
    value = lint_dataset(opened(ctx), file)
    view.data(value, shown_lint)
    if not value["valid"]:
        view.warn("error: The training set has errors.")
        return _GATE_FAILED
    return 0


def split(
    ctx: typer.Context,
    output: Annotated[str, typer.Option(metavar="DIR", help="Folder for the three files.")],
    file: File = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Another seed, another split.")] = None,
    min_groups: MinGroups = None,
    holdout: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="A group that is the test; repeatable.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cut a training set into train, validation and test."""
    from skill_fleet.cli.show_data import shown_split
    from skill_fleet.services.dataset import split_dataset

    context = opened(ctx, {"optimization.seed": seed, "optimization.min_groups": min_groups})
    value = split_dataset(context, file, output, holdout=holdout or (), force=force)
    screen(as_json=as_json, quiet=quiet).data(value, shown_split)


def show(ctx: typer.Context, file: File = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Say what is in a training set."""
    from skill_fleet.cli.show_data import shown_dataset
    from skill_fleet.services.dataset import show_dataset

    value = show_dataset(opened(ctx), file)
    screen(as_json=as_json, quiet=quiet).data(value, shown_dataset)
