"""A newer version of the jobs' protocol adopts what an older one has queued and half done."""

from pathlib import Path

from jobs.workers_help import Fleet
from skill_fleet.jobs.migrate import VERSIONS, revision, upgrade
from skill_fleet.jobs.queue import JobQueue

MIGRATION = '''"""Of this test only."""

import sqlalchemy as sa
from alembic import op

revision = "test"
down_revision = "{head}"


def upgrade() -> None:
    op.create_table("added", sa.Column("value", sa.Integer))
'''


def test_jobs_queued_and_half_done_before_an_upgrade_are_ended_after_it(fleet: Fleet, tmp_path: Path) -> None:
    old = fleet.worker(jobs_at_once=1)
    half_done = fleet.job(steps=8, seconds=0.1, first_seconds=600)
    queued = fleet.job(steps=2)
    fleet.wait(half_done, until=lambda job: job.progress > 0)
    old.kill()
    migrate(fleet, tmp_path)
    fleet.queue = JobQueue(fleet.database, version="2")
    fleet.here(version="2")
    new = fleet.job(steps=1)
    for job in (half_done, queued, new):
        fleet.wait(job, "succeeded")
    steps = [data["step"] for kind, data in fleet.told(half_done) if kind == "step"]
    assert steps == list(range(1, 9))
    assert [fleet.store.get(job).attempt for job in (half_done, queued, new)] == [2, 2, 1]
    assert [fleet.counts(job)["status"] for job in (half_done, queued, new)] == [1, 1, 1]


def test_an_older_worker_leaves_the_jobs_of_a_newer_version_alone(fleet: Fleet) -> None:
    fleet.queue = JobQueue(fleet.database, version="2")
    fleet.here(version="2", nothing=0.0).stop()
    job = fleet.job()
    fleet.here(version="1", nothing=0.0, poll_seconds=0.05)
    fleet.queue = JobQueue(fleet.database, version="1")
    fleet.wait(fleet.job(), "succeeded")
    assert fleet.store.get(job).status == "queued"
    assert fleet.worker_here is not None
    fleet.worker_here.stop()
    fleet.here(version="2", nothing=0.0)
    fleet.wait(job, "succeeded")
    assert fleet.store.get(job).attempt == 1


def migrate(fleet: Fleet, folder: Path) -> None:
    """One more migration, as a newer release would bring."""
    head = revision(fleet.database)
    (folder / "rev_test.py").write_text(MIGRATION.format(head=head))
    upgrade(fleet.database, (VERSIONS, folder))
