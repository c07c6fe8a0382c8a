"""`keys create`, `keys list`, `keys revoke`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skill_fleet.cli.options import Json, Quiet, screen
from skill_fleet.cli.serving import DatabaseUrl, service_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType


class Scope(StrEnum):
    """What a key may do; each holds those before it."""

    read = "read"
    run = "run"
    admin = "admin"


def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called, for people.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            metavar="SCOPE",
            help="read asks what starts no job (estimates, skills, evaluation, metrics), run also "
            "starts jobs and sees those, admin sees everybody's. Default: run.",
        ),
    ] = None,
    max_cost_per_day: Annotated[
        float | None,
        typer.Option(min=0, metavar="USD", help="Cap on dollars a day (UTC), over all its jobs."),
    ] = None,
    max_calls_per_day: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The same on model calls.")
    ] = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a key. What its bearer presents is printed once, here, and cannot be shown again.

    From the first key on, the service asks for one.
    """
    from skill_fleet.cli.tables import words
    from skill_fleet.services.keys import create_key, key_view

    view = screen(as_json=as_json, quiet=quiet)
    with service_of(ctx, database_url, view) as service:
        key, secret = create_key(
            service,
            name,
            [one.value for one in scope or [Scope.run]],
            usd_per_day=max_cost_per_day,
            calls_per_day=max_calls_per_day,
        )
    view.data({**key_view(key), "key": secret}, lambda value: words(value["key"]))
    view.note(f"Key {key.key_id} '{key.name}' ({', '.join(key.scopes)}). Keep it: it is not shown again.")
    view.note("Clients take it from SKILL_FLEET_API_KEY.")


def list_(
    ctx: typer.Context, database_url: DatabaseUrl = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """List all keys, and what their jobs spent today."""
    from skill_fleet.services.keys import list_keys

    view = screen(as_json=as_json, quiet=quiet)
    with service_of(ctx, database_url, view) as service:
        found = list_keys(service)
    if as_json:
        view.lines(found)
    elif found:
        view.data(found, _shown)
    else:
        view.note(
            "There is no key: the service is open to this machine. Make one: skill-fleet keys create NAME"
        )


def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As keys list shows it.")],
    database_url: DatabaseUrl = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """End a key for good: its next request is refused. Its jobs go on."""
    from skill_fleet.cli.show_jobs import moment
    from skill_fleet.cli.tables import words
    from skill_fleet.services.keys import key_view, revoke_key

    view = screen(as_json=as_json, quiet=quiet)
    with service_of(ctx, database_url, view) as service:
        key = service.keys.get(key_id)
        before = key.revoked_at is not None
        key = key if before else revoke_key(service, key_id)
        last = not before and not service.keys.any_good()

    def told(value: "Mapping[str, Any]") -> str:
        when = f"was revoked before, at {moment(value['revoked_at'])} UTC" if before else "is revoked"
        return f"Key {value['key_id']} '{value['name']}' {when}."

    view.data(key_view(key), lambda value: words(told(value)))
    if last:
        view.warn("That was the last key: the service is open to this machine again.")


def _shown(keys: "Sequence[Mapping[str, Any]]") -> "RenderableType":
    from skill_fleet.cli.numbers import UNKNOWN, count, dollars
    from skill_fleet.cli.show_jobs import moment
    from skill_fleet.cli.tables import rows

    def day(key: "Mapping[str, Any]") -> str:
        """What was spent today, of what may be."""
        usd, calls = key["today"]["usd"], key["today"]["calls"]
        most_usd, most_calls = key["usd_per_day"], key["calls_per_day"]
        of_usd = "" if most_usd is None else f" of {dollars(most_usd)}"
        of_calls = "" if most_calls is None else f" of {count(most_calls)}"
        return f"{UNKNOWN if usd is None else dollars(usd)}{of_usd}, {count(calls)}{of_calls} calls"

    lines = [
        (
            key["key_id"],
            key["name"],
            ", ".join(key["scopes"]),
            "revoked" if key["revoked_at"] else "good",
            day(key),
            moment(key["last_used_at"]) if key["last_used_at"] else UNKNOWN,
        )
        for key in keys
    ]
    return rows(("!id", "name", "scopes", "!state", "today", "!last used (UTC)"), lines)
