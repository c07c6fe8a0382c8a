"""Many jobs and several workers: nothing is lost or done twice, and never more at once than allowed."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.workers_help import Fleet, most_at_once

JOBS, WORKERS = 100, 2
LIMITS = {"jobs_at_once": 4, "jobs_everywhere": 5}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_hundred_jobs_are_drained_by_two_workers(fleet: Fleet) -> None:
    workers = [
        fleet.worker(
            ready=False, runner="nothing", seconds=0.02, heartbeat_seconds=15, poll_seconds=0.05, **LIMITS
        )
        for _ in range(WORKERS)
    ]
    names = {worker.wait_ready().name for worker in workers}
    with ThreadPoolExecutor(4) as pool:
        jobs = list(pool.map(lambda _: fleet.job(), range(JOBS)))
    until = time.monotonic() + 100
    while fleet.store.page(statuses=("queued", "running"), limit=1):
        assert time.monotonic() < until, Counter(fleet.store.get(job).status for job in jobs)
        time.sleep(0.1)
    for job in jobs:
        assert fleet.counts(job) == {"queued": 1, "taken_up": 1, "status": 1}
    done = [fleet.store.get(job) for job in jobs]
    assert {job.status for job in done} == {"succeeded"}
    assert {job.worker for job in done} == names
    spans = {job: fleet.span(job) for job in jobs}
    assert 1 < most_at_once(list(spans.values())) <= LIMITS["jobs_everywhere"]
    for name in names:
        assert (
            most_at_once([spans[job.job_id] for job in done if job.worker == name]) <= LIMITS["jobs_at_once"]
        )
