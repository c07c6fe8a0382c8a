"""`cache path`, `cache stats`, `cache clear`."""

from typing import Annotated

import typer

from skill_fleet.cli.options import Json, Quiet, opened, screen


def path(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """Say where the stored answers are."""
    from skill_fleet.cli.tables import words
    from skill_fleet.services.cache import cache_paths

    value = cache_paths(opened(ctx))
    screen(as_json=as_json, quiet=quiet).data(value, lambda found: words(found["responses"]))


def stats(ctx: typer.Context, as_json: Json = False, quiet: Quiet = False) -> None:
    """Say how many answers are stored."""
    from skill_fleet.cli.numbers import count, size
    from skill_fleet.cli.tables import facts
    from skill_fleet.services.cache import cache_stats

    value = cache_stats(opened(ctx))
    numbers = value["stats"]
    removed = value["of_removed_jobs"]
    pairs = [
        ("answers", f"{count(numbers['responses'])} ({size(numbers['bytes'])})"),
        ("of removed jobs", f"{count(removed['responses'])} ({size(removed['bytes'])})"),
        ("attempts", f"{count(numbers['attempts'])} in the ledger"),
        ("needed by", ", ".join(value["needed_by"]) or "no unfinished run"),
        ("answers in", value["responses"]),
        ("ledger in", value["ledger"]),
    ]
    screen(as_json=as_json, quiet=quiet).data(value, lambda _found: facts(pairs))


def clear(
    ctx: typer.Context,
    removed: Annotated[bool, typer.Option("--removed", help="Only those of jobs that were removed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what an unfinished run needs.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Forget the stored answers; the ledger stays.

    Refused while an unfinished run needs them, unless --force. With --removed only those go for which
    nobody made a call but jobs that were deleted, or let go after server.keep_days.
    """
    from skill_fleet.cli.numbers import several
    from skill_fleet.cli.tables import words
    from skill_fleet.services.cache import clear_cache

    value = clear_cache(opened(ctx), force=force, removed_jobs=removed)
    said = f"{several(value['removed'], 'answer')} removed. The ledger of what was paid is as it was."
    screen(as_json=as_json, quiet=quiet).data(value, lambda _found: words(said))
