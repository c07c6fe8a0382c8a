"""Keys that let clients in, and what is left of a key's day."""

from collections.abc import Collection
from typing import Any

from skill_fleet.foundation.clock import Clock, iso
from skill_fleet.foundation.errors import BudgetExhausted, UsageError
from skill_fleet.jobs.records import ApiKey
from skill_fleet.jobs.spending import SpentToday
from skill_fleet.services.service import Service

_DAY_SECONDS = 86_400
_LONGEST_NAME = 100
Caps = tuple[float | None, int | None]
"""Dollars and calls; None is no cap."""


class KeyBudgetSpent(BudgetExhausted):
    """Nothing is left of what a key may spend a day.

    Args:
        message: One sentence.
        hint: What to do about it.
        retry_after: Seconds until there is something again.
    """

    code = "key_budget"

    def __init__(self, message: str, *, hint: str, retry_after: int) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


def create_key(
    service: Service,
    name: str,
    scopes: Collection[str],
    *,
    usd_per_day: float | None = None,
    calls_per_day: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key, and what its bearer presents: shown now and never again.

    Args:
        service: Where keys are kept.
        name: What it is called, for people.
        scopes: Of `read`, `run`, `admin`.
        usd_per_day: Cap on dollars a day (UTC) over all its jobs; None is no cap.
        calls_per_day: The same on calls.

    Raises:
        UsageError: A value is out of range.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(f"A key's name has 1 to {_LONGEST_NAME} printable characters.")
    if usd_per_day is not None and not 0 < usd_per_day < float("inf"):
        raise UsageError(f"A cap on dollars a day must be more than 0, not {usd_per_day}.")
    if calls_per_day is not None and calls_per_day < 1:
        raise UsageError(f"A cap on calls a day must be at least 1, not {calls_per_day}.")
    key, secret = service.keys.create(name.strip(), scopes, usd_per_day, calls_per_day)
    data = {"name": key.name, "scopes": list(key.scopes), "usd_per_day": usd_per_day}
    service.audit.write(None, "key_created", key.key_id, {**data, "calls_per_day": calls_per_day})
    return key, secret


def list_keys(service: Service) -> list[dict[str, Any]]:
    """All keys, also revoked ones, with what their jobs spent today."""
    return [{**key_view(key), "today": _today(service, key)} for key in service.keys.list()]


def revoke_key(service: Service, key_id: str) -> ApiKey:
    """End a key for good: its next request is refused. Its jobs go on.

    Raises:
        NotFound: There is none.
    """
    key = service.keys.revoke(key_id)
    service.audit.write(None, "key_revoked", key.key_id, {"name": key.name})
    return key


def key_view(key: ApiKey) -> dict[str, Any]:
    """A key as a JSON value; its secret is nowhere."""
    times = {name: getattr(key, name) for name in ("created_at", "last_used_at", "revoked_at")}
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "usd_per_day": key.usd_per_day,
        "calls_per_day": key.calls_per_day,
        **{name: None if at is None else iso(at) for name, at in times.items()},
    }


def is_admin(key: ApiKey | None) -> bool:
    """Whether everybody's jobs are this caller's to see; None is a service without keys."""
    return key is None or "admin" in key.scopes


def has_day(key: ApiKey | None) -> bool:
    """Whether what this key spends a day is capped."""
    return key is not None and not (key.usd_per_day is None and key.calls_per_day is None)


def allowance(
    key: ApiKey | None, today: SpentToday, asked: Caps, *, clock: Clock, spent: tuple[float, int] = (0.0, 0)
) -> Caps:
    """The caps that a job gets: those asked for, lowered to what is left of its key's day.

    What is left is the cap of the day, less what was spent since midnight UTC, less what jobs under way may
    still spend. So no order of starts, ends and resumes spends more than the cap on any day, provided that
    nothing else is admitted between looking at `today` and writing the job down.

    Args:
        key: Who asks; None has no day.
        today: What was spent and is reserved, the job itself not among the reserved.
        asked: Caps over the whole job.
        clock: For how long it is until midnight.
        spent: Dollars and calls of the job so far, where it is gone on with.

    Raises:
        KeyBudgetSpent: Nothing is left.
    """
    if key is None:
        return asked
    usd_left = None if key.usd_per_day is None else key.usd_per_day - today.usd - today.reserved_usd
    calls_left = None if key.calls_per_day is None else key.calls_per_day - today.calls - today.reserved_calls
    for left, uncapped, unit in (
        (usd_left, today.uncapped_usd, "dollars"),
        (calls_left, today.uncapped_calls, "calls"),
    ):
        if left is not None and (left <= 0 or uncapped):
            raise _nothing_left(key, unit, clock)
    usd = _lower(asked[0], None if usd_left is None else spent[0] + usd_left)
    calls = _lower(asked[1], None if calls_left is None else spent[1] + calls_left)
    return usd, None if calls is None else int(calls)


def _lower(asked: float | None, left: float | None) -> float | None:
    known = [cap for cap in (asked, left) if cap is not None]
    return min(known) if known else None


def _nothing_left(key: ApiKey, unit: str, clock: Clock) -> KeyBudgetSpent:
    seconds = int(_DAY_SECONDS - clock.now() % _DAY_SECONDS) + 1
    return KeyBudgetSpent(
        f"Nothing is left of the {unit} that the key '{key.name}' may spend a day.",
        hint="Jobs under way have the rest set aside: give each a budget. A day begins at midnight UTC.",
        retry_after=seconds,
    )


def _today(service: Service, key: ApiKey) -> dict[str, Any]:
    spent = service.jobs.spent_today(key.key_id)
    usd = None if spent.usd_unknown_calls else spent.usd
    return {"usd": usd, "calls": spent.calls, "usd_unknown_calls": spent.usd_unknown_calls}
