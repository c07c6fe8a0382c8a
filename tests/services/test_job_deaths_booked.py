"""What a killed process has spent is booked when its job ends, though no process follows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.append(str(Path(__file__).parent))

from job_harness import SLOW, Stand, small_run, stand

from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.tables import JOB, SPENT_ON

ERROR = {"code": "crashed", "message": "It died.", "hint": ""}


@pytest.fixture(params=["sqlite", "postgresql"])
def one(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stand]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    with stand(tmp_path / "stand", url) as made:
        yield made


def killed(one: Stand) -> tuple[Job, Lease]:
    """A job whose process died before it told what it had spent."""
    job = one.job("d", small_run())
    lease = one.claimed(job)
    process = one.start(lease, command=SLOW)
    one.until(lambda: len(one.attempts()) >= 8 or process.poll() is not None, "some calls")
    process.kill()
    process.wait()
    assert one.now(job).status == "running"
    # It may have told in its last moment.
    untold = sa.update(JOB).values(calls=0, usd=0.0, usd_unknown_calls=0)
    one.database.write(lambda db: (db.execute(untold), db.execute(sa.delete(SPENT_ON))))
    return job, lease


def booked(one: Stand, job: Job, calls: int) -> None:
    found = one.now(job)
    today = one.store.spent_today(None)
    assert (found.calls, today.calls) == (calls, calls)
    assert found.usd_unknown_calls == today.usd_unknown_calls


def test_killed_and_cancelled_its_figures_are_those_of_the_ledger(one: Stand) -> None:
    job, _ = killed(one)
    one.store.want(job.job_id, "cancelled", None)
    ended = one.store.claim(job.job_id, 1, "next")
    assert isinstance(ended, Job)
    assert ended.status == "cancelled"
    booked(one, job, len(one.attempts()))
    assert one.store.claim(job.job_id, 1, "next") == one.now(job)
    booked(one, job, len(one.attempts()))


@pytest.mark.parametrize("end", ["crashed", "cut off", "handed back", "failed", "next attempt"])
def test_whoever_writes_down_that_it_died_books_it(one: Stand, end: str) -> None:
    job, lease = killed(one)
    if end == "crashed":
        one.store.crashed(lease, ERROR)
    elif end == "cut off":
        assert one.store.cut_off(lease, ERROR) == 1
    elif end == "handed back":
        one.store.want(job.job_id, "cancelled", None)
        assert one.store.hand_back(lease).status == "cancelled"
    elif end == "failed":
        one.store.conclude(lease, "failed", error=ERROR)
    else:
        assert one.store.next_attempt(job.job_id, 1).attempt == 2
    booked(one, job, len(one.attempts()))
