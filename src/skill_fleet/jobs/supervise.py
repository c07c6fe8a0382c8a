"""A job in a process of its own: started, watched, interrupted, and killed where it does not listen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome


@dataclass(frozen=True)
class ChildRunner:
    """Runs each job in a child process: `command… JOB_ID FENCE WORKER_ID`.

    Attributes:
        command: What to start.
        environment: The child's whole environment; the database's address is in it, never among the arguments.
        folder: Where the child starts: the workspace.
        grace_seconds: How long a child that was interrupted may take before it is killed.
        secrets: Texts that no error may hold.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    grace_seconds: float = 10.0
    secrets: Sequence[str] = ()

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        """Run the job in a process until it is over, interrupted or dead."""
        raise RuntimeError(job.job_id)
