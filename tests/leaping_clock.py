"""The machine's clock, on which time can be skipped: threads and tasks wait for real, and not for long."""

from typing_extensions import override

from skill_fleet.foundation.clock import SystemClock


class LeapingClock(SystemClock):
    """The machine's clock, so many seconds ahead.

    Attributes:
        ahead: How many.
    """

    def __init__(self) -> None:
        self.ahead = 0.0

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.ahead
