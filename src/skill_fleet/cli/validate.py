"""`validate`."""

from typing import Annotated, Literal

import typer

from skill_fleet.cli.numbers import several
from skill_fleet.cli.options import Json, Quiet, opened, screen

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH", help="Files, folders, or paths of the library; default: the whole library."
    ),
]
_GATE_FAILED = 4


def validate(
    ctx: typer.Context,
    paths: Targets = None,
    profile: Annotated[Literal["spec", "claude", "strict"], typer.Option(help="Whose rules.")] = "spec",
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check skills against the specification.

    Exit code 4 when a skill has an error. With --json one line a skill.
    """
    from skill_fleet.services.validation import validate_skills

    view = screen(as_json=as_json, quiet=quiet)
    found = validate_skills(opened(ctx), paths or (), profile)
    if as_json:
        invalid = total = 0
        for one in found:
            view.lines([one])
            total, invalid = total + 1, invalid + (not one["valid"])
    else:
        from skill_fleet.cli.show_validation import shown_validation

        skills = list(found)
        total, invalid = len(skills), sum(not one["valid"] for one in skills)
        view.data(skills, lambda found: shown_validation(found, profile))
    if invalid:
        view.warn(
            f"error: {invalid} of {several(total, 'skill')} break the rules of the profile '{profile}'."
        )
        return _GATE_FAILED
    return 0
