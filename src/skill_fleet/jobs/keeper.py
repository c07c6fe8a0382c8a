"""The thread of a worker that keeps house: sweeps, reaps, and lets go of what is old."""

import threading

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.reaper import Reaper
from skill_fleet.jobs.sweeper import LEFT_BEHIND_SECONDS, expire, sweep

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
        self._reaper, self._keep_days, self._clock = reaper, keep_days, clock
        self._stop = threading.Event()
        self._spared_until = clock.monotonic()
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
        every = self._reaper.heartbeat_seconds / _REAPS_A_HEARTBEAT
        reap_at = expire_at = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            try:
                sweep(self._reaper.store, self._reaper.queue)
                if now >= max(reap_at, self._spared_until):
                    self._reaper.reap()
                    reap_at = now + every
                if now >= expire_at:
                    expire(self._reaper.store, self._reaper.queue, self._keep_days)
                    expire_at = now + _EXPIRY_SECONDS
            except SkillFleetError:
                # The store is away, or a job went while it was looked at: all of it is tried again.
                self.spare(self._reaper.heartbeat_seconds)
            if self._stop.wait(min(LEFT_BEHIND_SECONDS, every)):
                return
