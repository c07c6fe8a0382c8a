"""An earlier process of a job that still holds its run: it is waited for, which is no crash."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

sys.path.append(str(Path(__file__).parent))

from job_harness import LONGEST, Stand, small_run, stand

from skill_fleet.jobs.child import CONCLUDED
from skill_fleet.jobs.records import RESUMABLE, Job

IMPATIENT = (sys.executable, str(Path(__file__).parent / "programs" / "impatient_job.py"))
WAITS = "Waiting for an earlier process of this job to end."


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path / "stand") as made:
        yield made


def held(one: Stand, job: Job) -> FileLock:
    """The lock of the job's run, as a process has it that stands still."""
    folder = one.workspace("one") / ".skill-fleet" / "runs" / job.job_id
    folder.mkdir(parents=True)
    lock = FileLock(folder / "lock")
    lock.acquire()
    return lock


def test_it_is_waited_for_and_then_the_job_is_done(one: Stand) -> None:
    job = one.job("w", small_run())
    lock = held(one, job)
    process = one.start(one.claimed(job))
    one.until(lambda: one.now(job).message == WAITS or process.poll() is not None, "that it waits")
    assert process.poll() is None, one.stderr()
    lock.release()
    assert process.wait(LONGEST) == CONCLUDED, one.stderr()
    assert one.now(job).status == "succeeded"
    assert one.now(job).crashes == 0


def test_a_job_that_waits_can_be_cancelled(one: Stand) -> None:
    job = one.job("c", small_run())
    with held(one, job):
        process = one.start(one.claimed(job))
        one.until(lambda: one.now(job).message == WAITS, "that it waits")
        one.store.want(job.job_id, "cancelled", None)
        assert process.wait(LONGEST) == CONCLUDED, one.stderr()
    assert one.now(job).status == "cancelled"


def test_where_it_does_not_end_the_job_is_stopped_and_goes_on_when_it_is_resumed(one: Stand) -> None:
    job = one.job("s", small_run())
    lock = held(one, job)
    assert one.run(job, command=IMPATIENT) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert (found.status, found.crashes) == ("stopped", 0)
    assert found.status in RESUMABLE
    assert found.error is not None
    assert found.error["code"] == "locked"
    assert WAITS in found.message
    assert found.calls == 0
    lock.release()
    one.store.requeue(job.job_id, None)
    assert one.run(job) == CONCLUDED, one.stderr()
    assert one.now(job).status == "succeeded"
