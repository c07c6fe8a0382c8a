"""The thread of a worker that keeps house: sweeps, reaps, and lets go of what is old."""

import logging
import threading
from collections.abc import Callable

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import SkillFleetError, StorageError
from skill_fleet.jobs.reaper import Reaper
from skill_fleet.jobs.sweeper import LEFT_BEHIND_SECONDS, expire, sweep

log = logging.getLogger(__name__)

_REAPS_A_HEARTBEAT = 3
_EXPIRY_SECONDS = 3600.0
_LAST_SECONDS = 1.0


class Keeper:
    """Keeps house until it is stopped.

    Args:
        reaper: What it does about the dead.
        keep_days: How long a finished job is kept.
        clock: For what is due.
    """

    def __init__(self, reaper: Reaper, *, keep_days: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self.trouble: Exception | None = None
        """Why the house is not kept just now; it is tried again."""
        self._reaper, self._keep_days, self._clock = reaper, keep_days, clock
        self._stop = threading.Event()
        self._reap_seconds = reaper.heartbeat_seconds / _REAPS_A_HEARTBEAT
        self._spared_until = self._reap_at = self._expire_at = clock.monotonic()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin, with everything at once."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being done."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS)

    def spare(self, seconds: float) -> None:
        """Declare nobody dead for a while: the database was away, and nobody could give a sign of life."""
        self._spared_until = self._clock.monotonic() + seconds

    def _keep(self) -> None:
        pause = min(LEFT_BEHIND_SECONDS, self._reap_seconds)
        while True:
            found = [self._tried(do) for do in (self._sweep, self._reap, self._expire)]
            self.trouble = next((error for error in found if error is not None), None)
            if self._stop.wait(pause):
                return

    def _tried(self, do: Callable[[], None]) -> Exception | None:
        """What kept something from being done; it is tried again with everything else."""
        try:
            do()
        except SkillFleetError as error:
            # The store is away, or a job went while it was looked at.
            self.spare(self._reaper.heartbeat_seconds)
            return error if isinstance(error, StorageError) else None
        except Exception as error:
            # The thread's edge: without it nobody would see to the dead any more.
            if repr(error) != repr(self.trouble):
                log.exception("The worker's housekeeping failed; it is tried again.")
            return error
        return None

    def _sweep(self) -> None:
        sweep(self._reaper.store, self._reaper.queue)

    def _reap(self) -> None:
        now = self._clock.monotonic()
        if now >= max(self._reap_at, self._spared_until):
            self._reaper.reap()
            self._reap_at = now + self._reap_seconds

    def _expire(self) -> None:
        now = self._clock.monotonic()
        if now >= self._expire_at:
            expire(self._reaper.store, self._reaper.queue, self._keep_days)
            self._expire_at = now + _EXPIRY_SECONDS
