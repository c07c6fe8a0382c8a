"""What has changed since a run began, of all that decides its result, and what going on anyway costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skill_fleet.llm.journal.journal import Spent

RESUMED_OVER = "resumed over"
"""Key of a saved identity under which the changes stand that the run was resumed over."""


@dataclass(frozen=True)
class Change:
    """One thing that decides the result and is not what it was.

    Attributes:
        name: As in the run's identity.
        words: What happened to it, as a part of a sentence.
        phases: Phases whose every call is another one now; empty where the prompts decide, call by call.
    """

    name: str
    words: str
    phases: tuple[str, ...] = ()


def changes_since(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs between the identity a run began with and the present one, in the order of the latter."""
    return tuple(_change(name, before.get(name), now[name]) for name in now if now[name] != before.get(name))


def in_words(changes: tuple[Change, ...]) -> str:
    """The changes as one part of a sentence."""
    return " and ".join(change.words for change in changes)


def resumed_over(before: Mapping[str, Any], changes: tuple[Change, ...]) -> tuple[str, ...]:
    """All changes a run was resumed over so far, by their words, with those of this resume at the end."""
    earlier = before.get(RESUMED_OVER) or ()
    return tuple(dict.fromkeys([*map(str, earlier), *(change.words for change in changes)]))


def price_of(changes: tuple[Change, ...], spent: Spent) -> dict[str, Any]:
    """What going on over changes makes of the calls that were paid for.

    Returns:
        `changed` in words; `spent`, calls and dollars (null where unknown) that stay counted against the
        caps; `again`, how many of these calls are made and paid again, `[at least, at most]`.
    """
    phases = {phase for change in changes for phase in change.phases}
    surely = sum(calls for phase, calls in spent.by_phase.items() if phase in phases)
    return {
        "changed": [change.words for change in changes],
        "spent": {"calls": spent.calls, "usd": None if spent.usd_unknown_calls else spent.usd},
        "again": [min(surely, spent.settled), spent.settled],
    }


def _change(name: str, before: Any, now: Any) -> Change:
    if name == "versions":
        then = before or {}
        moved = [f"{part} {then.get(part)} -> {to}" for part, to in now.items() if then.get(part) != to]
        return Change(name, f"versions changed ({', '.join(moved)})")
    if name == "models":
        then = before or {}
        phases = tuple(sorted(phase for phase in now if now[phase] != then.get(phase)))
        return Change(name, f"the models changed ({', '.join(phases)})", phases)
    return Change(name, f"the {name} changed")
