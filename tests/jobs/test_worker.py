"""A worker under way: limits, wishes, stopping, one on SQLite, and what its process is made of."""

import os
import subprocess
import time
from collections import Counter

import pytest

from jobs.workers_help import LONGEST, Fleet, gone, most_at_once, within
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.records import Job
from skill_fleet.jobs.worker_store import WorkerStore

POSTGRES = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_cancelled_child_hears_of_it_soon(fleet: Fleet) -> None:
    fleet.here()
    job = fleet.job(steps=10_000, seconds=0.1)
    fleet.wait(job, until=lambda job: job.progress > 0)
    [child] = fleet.children(job)
    fleet.store.want(job, "cancelled", None)
    fleet.wait(job, "cancelled", within=20)  # a second, on a machine that has nothing else to do
    assert gone(child)
    assert fleet.store.get(job).progress > 0


@SQLITE
def test_a_child_that_does_not_listen_is_killed_after_the_grace_time(fleet: Fleet) -> None:
    fleet.here(grace_seconds=1.0)
    job = fleet.job(steps=10_000, seconds=0.1, deaf=True)
    fleet.wait(job, until=lambda job: job.progress > 0)
    [child] = fleet.children(job)
    asked = time.monotonic()
    fleet.store.want(job, "paused", None)
    fleet.wait(job, "paused", within=20)
    assert time.monotonic() - asked > 0.9
    assert gone(child)
    fleet.put_in(fleet.store.requeue(job, None))
    fleet.wait(job, until=lambda job: job.status == "running" and job.fence == 2)
    fleet.store.want(job, "cancelled", None)
    fleet.wait(job, "cancelled")


def test_a_job_that_is_resumed_at_once_after_its_pause_holds_no_place_twice(fleet: Fleet) -> None:
    fleet.here(jobs_at_once=1)
    job = fleet.job(steps=6, seconds=0.1, first_seconds=600)
    fleet.wait(job, until=lambda job: job.progress > 0)
    fleet.store.want(job, "paused", None)
    end = time.monotonic() + LONGEST
    while fleet.store.get(job).status != "paused":
        assert time.monotonic() < end
        time.sleep(0.001)
    fleet.put_in(fleet.store.requeue(job, None))
    fleet.wait(job, "succeeded")
    fleet.wait(fleet.job(steps=1), "succeeded")
    steps = [data["step"] for kind, data in fleet.told(job) if kind == "step"]
    assert steps == list(range(1, 7))


def test_a_worker_that_stops_waits_for_no_job_and_the_next_one_ends_its_jobs(fleet: Fleet) -> None:
    worker = fleet.here(grace_seconds=600.0)
    jobs = [fleet.job(steps=15, seconds=0.05, first_seconds=600, deaf=deaf) for deaf in (False, True)]
    for job in jobs:
        fleet.wait(job, until=lambda job: job.progress > 0)
    waits = fleet.job(steps=1)
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 30.0  # three to five, on a machine that has nothing else to do
    assert all(gone(child) for job in jobs for child in fleet.children(job))
    assert [fleet.store.get(job).status for job in (*jobs, waits)] == ["queued"] * 3
    assert [w.state for w in WorkerStore(fleet.database).list()] == ["stopped"]
    fleet.here()
    for job in (*jobs, waits):
        fleet.wait(job, "succeeded")
    assert [fleet.counts(job)["handed_back"] for job in jobs] == [1, 1]
    steps = [data["step"] for kind, data in fleet.told(jobs[0]) if kind == "step"]
    assert steps == list(range(1, 16))


@POSTGRES
def test_a_job_that_dies_again_and_again_has_failed(fleet: Fleet) -> None:
    fleet.here()
    job = fleet.job(steps=3, crash={"at": 2, "how": "exit"})
    failed = fleet.wait(job, "failed")
    assert fleet.counts(job)["crashed"] == 3
    assert failed.error is not None
    assert failed.error["code"] == "crashed"
    assert "3 times without getting further" in failed.error["message"]
    assert "last words of" in failed.error["stderr"]
    assert "hunter2" not in str(failed.error)
    assert failed.error["peak_megabytes"] is None or failed.error["peak_megabytes"] > 0


@SQLITE
def test_a_child_that_somebody_else_interrupts_says_so(fleet: Fleet) -> None:
    fleet.here()
    job = fleet.job(steps=3, crash={"at": 2, "how": "interrupted"})
    # More often than a job may crash: it goes on all the same.
    found = fleet.wait(job, until=lambda job: job.deaths > 3)
    assert (found.crashes, found.over) == (0, False)
    told = [data["error"] for kind, data in fleet.told(job) if kind == "interrupted_from_outside"]
    assert "was interrupted from outside" in told[0]["message"]
    fleet.store.want(job, "cancelled", None)
    fleet.wait(job, "cancelled")


@SQLITE
def test_a_job_that_the_queue_was_not_told_of_is_found(fleet: Fleet) -> None:
    fleet.here(nothing=0.0)
    job = fleet.job(enqueue=False)
    fleet.wait(job, "succeeded")


def test_jobs_of_the_highest_priority_come_first(fleet: Fleet) -> None:
    jobs = [fleet.job(priority=priority) for priority in (90, 50, 10, 70)]
    fleet.here(nothing=0.0, jobs_at_once=1)
    for job in jobs:
        fleet.wait(job, "succeeded")
    begun = sorted(jobs, key=lambda job: fleet.span(job)[0])
    assert [fleet.store.get(job).priority for job in begun] == [10, 50, 70, 90]


@POSTGRES
def test_the_limits_hold_over_all_workers(fleet: Fleet) -> None:
    limits = {"jobs_at_once": 2, "jobs_everywhere": 3, "jobs_per_provider": 2}
    workers = [
        fleet.worker(runner="nothing", seconds=600, poll_seconds=0.05, ready=False, **limits)
        for _ in range(2)
    ]
    for worker in workers:
        worker.wait_ready()
    jobs = {job: provider for provider in "abc" for job in [fleet.job(provider=provider) for _ in range(4)]}
    ended: set[str] = set()

    def full() -> list[Job]:
        running = fleet.store.page(statuses=("running",))
        assert len(running) <= 3
        assert all(number <= 2 for number in Counter(job.worker for job in running).values())
        assert all(number <= 2 for number in Counter(job.provider for job in running).values())
        return running if len(running) == 3 and not ended & {job.job_id for job in running} else []

    for _ in range(3):
        running = within(full, "that as many are run as may be")
        assert {job.worker for job in running} == {worker.name for worker in workers}
        for job in running:
            fleet.store.want(job.job_id, "cancelled", None)
            fleet.wait(job.job_id, "cancelled")
            ended.add(job.job_id)
    spans = {job: fleet.span(job) for job in ended}
    assert most_at_once(list(spans.values())) <= 3
    for provider in "abc":
        assert most_at_once([span for job, span in spans.items() if jobs[job] == provider]) <= 2


@SQLITE
def test_a_second_worker_on_the_embedded_store_is_told_who_the_first_is(fleet: Fleet) -> None:
    first = fleet.worker(runner="nothing")
    second = fleet.worker(runner="nothing", ready=False)
    said = second.error()
    assert f"already being worked on by process {first.popen.pid}." in said
    assert "SKILL_FLEET_DATABASE_URL" in said or "worker_exists" in said or "StorageError" in said
    first.kill()
    fleet.worker(runner="nothing")
    fleet.wait(fleet.job(), "succeeded")


@POSTGRES
def test_a_worker_loads_nothing_that_its_children_need(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.wait(fleet.job(steps=1), "succeeded")
    assert worker.stop() < 30.0
    assert worker.popen.stdout is not None
    assert worker.popen.stdout.read().split() == ["stopped", "None"]
    assert worker.error() == ""


def test_a_worker_in_this_process_can_be_stopped_and_started_again(fleet: Fleet) -> None:
    names = set()
    for _ in range(2):
        worker = fleet.here(nothing=0.0)
        names.add(worker.worker_id)
        fleet.wait(fleet.job(), "succeeded")
        worker.stop()
        worker.stop()
        assert not worker.alive
        assert worker.failed is None
    assert len(names) == 2


def test_a_worker_does_not_begin_without_its_tables(fleet: Fleet) -> None:
    table = "worker" if fleet.database.is_sqlite else "skill_fleet.worker"
    fleet.database.write(lambda db: db.exec_driver_sql(f"alter table {table} rename to gone"))
    with pytest.raises(StorageError, match=r"worker|no tables"):
        fleet.here(nothing=0.0)
    gone_table = "gone" if fleet.database.is_sqlite else "skill_fleet.gone"
    fleet.database.write(lambda db: db.exec_driver_sql(f"alter table {gone_table} rename to worker"))
    # The lock of the embedded store is free again.
    fleet.here(nothing=0.0)
    fleet.wait(fleet.job(), "succeeded")


@SQLITE
def test_a_worker_at_rest_takes_next_to_no_time(fleet: Fleet) -> None:
    worker = fleet.worker(runner="nothing", poll_seconds=0.5, heartbeat_seconds=15)
    shares = []
    for _ in range(10):  # it may be beginning still
        before = cpu_seconds(worker.popen.pid)
        time.sleep(2.0)
        shares.append((cpu_seconds(worker.popen.pid) - before) / 2.0)
        if shares[-1] < 0.06:  # of one core; 0.01 to 0.02 as measured
            return
    pytest.fail(f"of one core: {shares}")


def cpu_seconds(pid: int) -> float:
    out = subprocess.run(["cat", f"/proc/{pid}/stat"], capture_output=True, text=True, check=False).stdout
    if not out:
        pytest.skip("no /proc here")
    fields = out.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
