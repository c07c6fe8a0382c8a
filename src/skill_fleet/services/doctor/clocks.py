"""The clock of this machine against those of others."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from skill_fleet.services.doctor.check import Check

_SKEW_SECONDS = 60.0


def clock_check(whose: str, there: float, here: float) -> Check | None:
    """A warning where two clocks differ by more than a minute; None where they agree.

    Args:
        whose: The other clock.
        there: Its seconds since 1970.
        here: Ours.
    """
    skew = here - there
    if abs(skew) <= _SKEW_SECONDS:
        return None
    way = "ahead of" if skew > 0 else "behind"
    said = f"This machine's clock is {abs(skew):.0f} s {way} that of {whose}."
    hint = "Set the clock (NTP): pauses that providers ask for by date, and certificates, depend on it."
    return Check("clock", "warning", said, hint)


def date_in(header: str) -> float | None:
    """Seconds since 1970 of an HTTP `Date`; None where it is none."""
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
