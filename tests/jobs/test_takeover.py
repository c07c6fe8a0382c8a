"""Workers that die or stand still, with real processes: their jobs are taken over, and end once."""

import os
import signal
import time

import pytest

from jobs.workers_help import HEARTBEAT, Fleet, gone, within
from postgres import Postgres
from skill_fleet.jobs.reaper import Reaper
from skill_fleet.jobs.worker_store import WorkerStore

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def ended_once(fleet: Fleet, job_id: str, steps: int) -> None:
    told = fleet.told(job_id)
    ends = [data for kind, data in told if kind == "status"]
    assert [end["status"] for end in ends] == ["succeeded"], told
    assert [data["step"] for kind, data in told if kind == "step"] == list(range(1, steps + 1)), told


def test_a_killed_workers_jobs_are_ended_by_the_next_one(fleet: Fleet) -> None:
    first = fleet.worker()
    jobs = [fleet.job(steps=6, seconds=0.1, first_seconds=600) for _ in range(2)]
    for job in jobs:
        fleet.wait(job, until=lambda job: job.progress > 0)
    first.kill()
    fleet.here()
    for job in jobs:
        fleet.wait(job, "succeeded")
        ended_once(fleet, job, 6)
    assert [len(fleet.children(job)) for job in jobs] == [2, 2]
    within(lambda: all(gone(child) for job in jobs for child in fleet.children(job)), "no process is left")


@SQLITE
def test_a_killed_child_is_started_again_where_it_was(fleet: Fleet) -> None:
    fleet.here()
    job = fleet.job(steps=6, seconds=0.1, first_seconds=600)
    fleet.wait(job, until=lambda job: job.progress > 0)
    [child] = fleet.children(job)
    os.kill(child, signal.SIGKILL)
    fleet.wait(job, "succeeded")
    ended_once(fleet, job, 6)
    [crash] = [data["error"] for kind, data in fleet.told(job) if kind == "crashed"]
    assert crash["exit"] == -9
    assert "killed by SIGKILL" in crash["message"]
    assert fleet.counts(job)["taken_up"] == 2
    assert fleet.store.get(job).attempt == 1


@POSTGRES
def test_another_worker_takes_over_soon_after_the_heartbeat_has_expired(fleet: Fleet) -> None:
    first = fleet.worker()
    job = fleet.job(steps=10, seconds=0.1, first_seconds=600)
    fleet.wait(job, until=lambda job: job.progress > 0)
    fleet.here()
    before = fleet.store.get(job).fence
    first.kill()
    fleet.wait(job, until=lambda job: job.fence > before, within=HEARTBEAT + 40)
    fleet.wait(job, "succeeded")
    ended_once(fleet, job, 10)


@POSTGRES
def test_a_worker_that_stood_still_finds_its_job_taken_and_starts_over(fleet: Fleet) -> None:
    first = fleet.worker()
    # The first process is back in the middle of it, and wants to go on.
    job = fleet.job(steps=40, seconds=0.02, first_seconds=3.0)
    before = fleet.wait(job, until=lambda job: job.progress > 0).fence
    fleet.here()
    child = fleet.children(job)[-1]
    # Both stand still: the child too goes on with a job that is not its own any more.
    os.kill(child, signal.SIGSTOP)
    first.send(signal.SIGSTOP)
    try:
        fleet.wait(job, until=lambda job: job.fence > before)
    finally:
        os.kill(child, signal.SIGCONT)
        first.send(signal.SIGCONT)
    fleet.wait(job, "succeeded")
    ended_once(fleet, job, 40)
    within(lambda: gone(child) and first.name not in alive(fleet), "that it sees it")
    within(lambda: len(alive(fleet)) == 2, "that it starts over")


@POSTGRES
def test_a_worker_goes_on_when_its_database_was_away(fleet: Fleet, postgres: Postgres) -> None:
    worker = fleet.worker()
    jobs = [fleet.job(steps=8, seconds=0.2) for _ in range(3)]
    fleet.wait(jobs[0], until=lambda job: job.progress > 0)
    postgres.stop(crash=True)
    time.sleep(1.5 * HEARTBEAT)
    postgres.start()
    later = Fleet(fleet.folder, fleet.url, fleet.database)
    for job in jobs:
        later.wait(job, "succeeded")
        ended_once(later, job, 8)
    assert worker.popen.poll() is None
    assert worker.stop() < 30.0
    later.close()


def alive(fleet: Fleet) -> set[str]:
    return {w.worker_id for w in WorkerStore(fleet.database).list() if w.state == "alive"}


def reaper(fleet: Fleet) -> Reaper:
    return Reaper(fleet.database, fleet.queue, fleet.store, WorkerStore(fleet.database), 60.0)


@POSTGRES
def test_a_job_is_not_reaped_while_it_waits_or_is_worked_on(fleet: Fleet) -> None:
    waiting = fleet.job(steps=1)
    assert reaper(fleet).reap() == reaper(fleet).reap()
    fleet.here(heartbeat_seconds=60.0)
    fleet.wait(waiting, "succeeded")
    running = fleet.job(steps=20, seconds=0.1, first_seconds=600)
    fleet.wait(running, until=lambda job: job.progress > 0)
    done = reaper(fleet).reap()
    assert (done.put_back, done.adopted, done.rescued) == ((), (), ())
    assert fleet.store.get(running).fence == 1
