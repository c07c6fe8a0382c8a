"""kill -9, SIGSTOP and the rest, with real processes: each job ends once."""

import time

from jobs.workers_help import HEARTBEAT, Fleet, gone


def ended_once(fleet: Fleet, job_id: str, steps: int) -> None:
    told = fleet.told(job_id)
    ends = [data for kind, data in told if kind == "status"]
    assert [end["status"] for end in ends] == ["succeeded"], told
    assert [data["step"] for kind, data in told if kind == "step"] == list(range(1, steps + 1)), told


def test_a_killed_workers_jobs_are_ended_by_the_next_one(fleet: Fleet) -> None:
    first = fleet.worker()
    jobs = [fleet.job(steps=8, seconds=0.15) for _ in range(3)]
    fleet.wait(jobs[0], until=lambda job: job.progress > 0.2)
    children = first.children()
    assert children
    killed = time.monotonic()
    first.kill()
    fleet.worker()
    for job in jobs:
        fleet.wait(job, "succeeded")
        ended_once(fleet, job, 8)
    assert all(gone(child) for child in children)
    assert time.monotonic() - killed < HEARTBEAT + 10
