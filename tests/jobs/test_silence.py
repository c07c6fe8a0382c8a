"""Jobs that hang: nothing is heard of them, and their process is started again."""

import time
from collections.abc import Iterator

import pytest

from jobs.workers_help import Fleet, gone
from skill_fleet.jobs.workflow import Silence

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@SQLITE
def test_a_job_that_hangs_is_killed_as_a_crash(fleet: Fleet) -> None:
    fleet.here(silent_seconds=2.5, grace_seconds=30.0)
    # The first step comes quickly, the second never; it listens to no signal either.
    job = fleet.job(steps=2, seconds=0.2, deaf=True, hang=2)
    fleet.wait(job, until=lambda job: job.progress > 0)
    [child] = fleet.children(job)
    begun = time.monotonic()
    fleet.wait(job, until=lambda job: job.crashes > 0, within=10)
    assert time.monotonic() - begun > 2.0
    assert gone(child)
    [crash] = [data["error"] for kind, data in fleet.told(job) if kind == "crashed"]
    assert "it hung, no call, no event and no progress" in crash["message"]
    assert crash["code"] == "crashed"
    fleet.wait(job, until=lambda job: job.fence == 2)
    fleet.store.want(job, "cancelled", None)
    fleet.wait(job, "cancelled", within=40)


@SQLITE
def test_a_slow_job_does_not_hang(fleet: Fleet) -> None:
    fleet.here(silent_seconds=2.5)
    job = fleet.job(steps=4, seconds=1.2)
    fleet.wait(job, "succeeded")
    assert fleet.counts(job)["crashed"] == 0


def silence(*times: float) -> Silence:
    left: Iterator[float] = iter(times)
    return Silence(lambda: next(left))


def test_it_grows_until_something_is_told() -> None:
    heard = silence(0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0)
    assert [heard.after(changes) for changes in (7, 7, 7, 8, 8)] == [0.0, 1.0, 2.0, 0.0, 1.0]


def test_a_machine_that_slept_was_not_silent() -> None:
    heard = silence(0.0, 0.0, 0.0, 1.0, 7200.0)
    assert [heard.after(7) for _ in range(3)] == [0.0, 1.0, 11.0]


def test_a_store_that_was_away_could_be_told_nothing() -> None:
    heard = silence(0.0, 0.0, 0.0, 9.0, 10.0, 11.0)
    assert [heard.after(7), heard.after(7)] == [0.0, 9.0]
    heard.broken()
    assert heard.after(7) == 1.0
