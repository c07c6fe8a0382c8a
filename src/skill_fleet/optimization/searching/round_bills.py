"""What a round took over all processes of its run, so that a resume reports what one process would have.

A resumed run makes its rounds again, but pays only for what is new. So every process notes what the whole
run had spent when it began a round and when it ended it; the round took what was added in between, in each
process that worked on it until one brought it to its end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from skill_fleet.optimization.session import Session

BEGAN = "round_began"
WITHHELD = "withheld"
"""What a round says that ended where a proposal was withheld: it has come to its end, as one that was not."""


@dataclass(frozen=True)
class Bill:
    """Attempts and dollars, and of how many attempts the price is not known."""

    calls: int = 0
    usd: float = 0.0
    unknown: int = 0

    def plus(self, later: "Bill", earlier: "Bill") -> "Bill":
        """With what was added between two readings of the whole run."""
        return Bill(
            self.calls + later.calls - earlier.calls,
            self.usd + later.usd - earlier.usd,
            self.unknown + later.unknown - earlier.unknown,
        )

    def to_json(self) -> dict[str, Any]:
        """For an event."""
        return {"calls": self.calls, "usd": self.usd, "unknown": self.unknown}


def begin_round(session: Session, number: int) -> None:
    """Note what the run had spent when this process began a round."""
    session.emit(BEGAN, round=number, spent=_spent(session).to_json())


def bill_of_round(session: Session, number: int) -> tuple[Bill, Bill]:
    """What a round took until now, or until it first came to its end.

    Returns:
        That, and what the whole run has spent, to be noted with the round's end.
    """
    now = _spent(session)
    total, since = Bill(), None
    for event in _events(session, number):
        reading = Bill(**event["spent"])
        if since is not None:
            total = total.plus(reading, since)
        since = reading if event["kind"] == BEGAN else None
        if event["kind"] == "round" and event["stopped"] in {None, WITHHELD}:
            return total, now
    return (total if since is None else total.plus(now, since)), now


def _events(session: Session, number: int) -> Iterator[Mapping[str, Any]]:
    """Beginnings and ends of the round in this part of the run, by all processes in their order."""
    part = session.about.get("fold")
    for event in session.events.kept():
        of_this = event.get("round") == number and event.get("fold") == part
        if event["kind"] in {BEGAN, "round"} and of_this and "spent" in event:
            yield event


def _spent(session: Session) -> Bill:
    spent = session.line.journal.spent(session.line.run)
    return Bill(spent.calls, spent.usd, spent.usd_unknown_for_good)
