"""kill -9 and SIGSTOP to the commands people start while a real optimization runs: it ends once, unharmed."""

import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobs.service_help import EXPIRY, Site, request, send, undisturbed
from jobs.workers_help import Fleet, gone
from skill_fleet.jobs.records import Job

SEED = 3
PACE = {"SKILL_FLEET_MODELS__REGISTRY__OFFLINE__RPM": "1200"}
"""Twenty calls a second: a run lasts long enough to be struck, also where who strikes is kept waiting."""
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result when nothing happens."""
    return undisturbed(tmp_path_factory.mktemp("whole"), request(SEED))


@pytest.fixture
def site(fleet: Fleet) -> Iterator[Callable[[int], Site]]:
    sites: list[Site] = []

    def begin(workers: int) -> Site:
        sites.append(Site(fleet, workers, PACE))
        return sites[-1]

    yield begin
    for one in sites:
        one.close()


def under_way(site: Site, job_id: str, calls: int) -> Job:
    """The job, when so many calls were begun and it is in somebody's hands."""
    until = time.monotonic() + 60
    while True:
        job = site.fleet.store.get(job_id)
        assert not job.over, "it was over before it was struck"
        if len(site.attempts(job_id)) >= calls and job.status == "running":
            return job
        assert time.monotonic() < until, (job, site.fleet.told(job_id))
        time.sleep(0.01)


def all_gone(children: list[int]) -> None:
    """A process that was just being started looks after its worker a moment later."""
    until = time.monotonic() + 60
    while not all(gone(child) for child in children):
        assert time.monotonic() < until, "the process of a job goes on without it"
        time.sleep(0.02)


def moments(whole: dict[str, Any], seed: int, number: int) -> list[int]:
    """Random numbers of calls, rising, all long before the end."""
    return sorted(random.Random(seed).sample(range(1, whole["calls"]["made"] // 2), number))


@SQLITE
@pytest.mark.parametrize("seed", [1, 2])
def test_a_server_that_is_killed_again_and_again(
    site: Callable[[int], Site], whole: dict[str, Any], seed: int
) -> None:
    one = site(1)
    job_id = one.fleet.job(**request(SEED))
    for calls in moments(whole, seed, 3):
        job = under_way(one, job_id, calls)
        children = one.children(0)
        one.restart(0)
        one.wait_ready(0)
        all_gone(children)
        one.fleet.wait(job_id, until=lambda now, job=job: now.fence > job.fence, within=30)
    one.fleet.wait(job_id, until=lambda now: now.over, within=60)
    assert one.faults(job_id, whole["program_hash"]) == []


@POSTGRES
@pytest.mark.parametrize("seed", [1, 2])
def test_workers_that_are_killed_while_another_is_there(
    site: Callable[[int], Site], whole: dict[str, Any], seed: int
) -> None:
    two = site(2)
    job_id = two.fleet.job(**request(SEED))
    for calls in moments(whole, seed, 2):
        job = under_way(two, job_id, calls)
        holder = two.holder(job)
        assert holder is not None
        two.restart(holder)
        again = two.fleet.wait(job_id, until=lambda now, job=job: now.fence > job.fence, within=EXPIRY + 40)
        assert again.worker != job.worker
        two.wait_ready(holder)
    two.fleet.wait(job_id, until=lambda now: now.over, within=60)
    assert two.faults(job_id, whole["program_hash"]) == []


@POSTGRES
def test_a_worker_and_its_child_that_stand_still_for_longer_than_a_heartbeat(
    site: Callable[[int], Site], whole: dict[str, Any]
) -> None:
    two = site(2)
    job_id = two.fleet.job(**request(SEED))
    [calls] = moments(whole, 3, 1)
    job = under_way(two, job_id, calls)
    holder = two.holder(job)
    assert holder is not None
    [child] = two.children(holder)
    still = (two.processes[holder].pid, child)
    send(signal.SIGSTOP, *still)
    try:
        two.fleet.wait(job_id, until=lambda now: now.fence > job.fence, within=EXPIRY + 40)
    finally:
        send(signal.SIGCONT, *still)
    two.fleet.wait(job_id, until=lambda now: now.over, within=60)
    all_gone([child])
    assert two.faults(job_id, whole["program_hash"]) == []
    assert two.processes[holder].poll() is None
