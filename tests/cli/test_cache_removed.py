"""`cache stats` and `cache clear --removed`: what jobs have left that were deleted since."""

from contextlib import closing
from pathlib import Path

from skill_fleet.jobs.database import open_database, prepare_database
from skill_fleet.jobs.records import NewJob
from skill_fleet.jobs.store import JobStore
from skill_fleet.llm.journal.journals import open_journal
from skill_fleet.llm.journal.spent import Usage
from skill_fleet.services.context import open_context


def deleted_job(root: Path) -> None:
    context = open_context(root, environ={})
    with closing(open_database(context.workspace, None)) as database:
        prepare_database(database, queue=False)
        jobs = JobStore(database)
        job, _ = jobs.create(NewJob("20270101-000000-gone", "optimization", {}))
        jobs.want(job.job_id, "cancelled", None)
        jobs.remove(job.job_id, None)
    with closing(open_journal(context.loaded)) as journal:
        for run, key in ((job.job_id, "a"), ("evaluate-1", "b")):
            attempt = journal.open_attempt(run, key, "evaluation", "m")
            journal.settle(attempt, key, "m", '"x"', Usage(1, 1, 0.5))


def test_only_the_answers_of_deleted_jobs_are_cleared(cli, ws: Path) -> None:
    deleted_job(ws)
    shown = cli("cache", "stats").out.splitlines()
    assert [line.split("  ")[0] for line in shown[:3]] == ["answers", "of removed jobs", "attempts"]
    assert shown[1].endswith("1 (3 B)")
    assert cli("cache", "stats", "--json").json["of_removed_jobs"] == {"responses": 1, "bytes": 3}
    assert cli("cache", "clear", "--removed", "--json").json["removed"] == 1
    assert cli("cache", "clear", "--json").json["removed"] == 1
