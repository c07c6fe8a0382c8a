"""What comes to the port and is no HTTP: said once in a while, not each time."""

import logging

from typing_extensions import override

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock

EVERY_SECONDS = 60.0
_UVICORN_SAYS = "Invalid HTTP request received."


class JunkFilter(logging.Filter):
    """Lets one such warning of uvicorn through a minute, with how many there were: anybody can cause them.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self._clock = clock
        self._said_at = float("-inf")
        self._unsaid = 0

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if record.msg != _UVICORN_SAYS:
            return True
        self._unsaid += 1
        now = self._clock.monotonic()
        if now - self._said_at < EVERY_SECONDS:
            return False
        record.msg = f"What came was not HTTP: {self._unsaid} since this was last said."
        record.args = ()
        self._said_at, self._unsaid = now, 0
        return True


def quiet_junk() -> None:
    """See to it that junk at the port cannot fill the log."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(one, JunkFilter) for one in logger.filters):
        logger.addFilter(JunkFilter())
