"""The process of a job for which a second is a minute when it waits: for tests."""

import sys

from skill_fleet.foundation.clock import SystemClock
from skill_fleet.jobs.records import Lease
from skill_fleet.services.context import open_context
from skill_fleet.services.job_process import leave, work


class Quick(SystemClock):
    """A clock on which durations are sixty times as long."""

    def monotonic(self) -> float:
        return 60.0 * super().monotonic()


if __name__ == "__main__":
    job, fence, worker = sys.argv[1:]
    leave(work(open_context(clock=Quick()), Lease(job, int(fence), worker)))
