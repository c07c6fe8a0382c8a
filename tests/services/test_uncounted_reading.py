"""A job whose reading of the sealed test cannot be counted: stopped, and gone on with for nothing."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.append(str(Path(__file__).parent))

from job_harness import Stand, small_run, stand

from skill_fleet.jobs.child import CONCLUDED
from skill_fleet.jobs.records import RESUMABLE
from skill_fleet.llm.journal.readings import FileReadings


def refuse_readings(one: Stand) -> Callable[[], None]:
    """Let no reading be counted; what allows them again."""
    if one.url is not None:

        def say(*statements: str) -> None:
            for text in statements:
                one.database.write(lambda db, text=text: db.execute(sa.text(text)))

        say(
            "create function skill_fleet.refuse() returns trigger language plpgsql"
            " as $$ begin raise exception 'no room'; end $$",
            "create trigger full_up before insert on skill_fleet.test_reading"
            " for each row execute function skill_fleet.refuse()",
        )
        return lambda: say("drop trigger full_up on skill_fleet.test_reading")
    ledger = one.workspace("one") / ".skill-fleet" / "ledger.sqlite"
    FileReadings(ledger).count("another test", "somebody")

    def on_file(statement: str) -> None:
        with closing(sqlite3.connect(ledger, timeout=10, isolation_level=None)) as db:
            db.execute(statement)

    on_file("create trigger full_up before insert on test_reading begin select raise(abort, 'no room'); end")
    return lambda: on_file("drop trigger full_up")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_job_is_stopped_and_resumed_it_makes_no_further_call(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    with stand(tmp_path / "stand", url) as one:
        allow = refuse_readings(one)
        job = one.job("r", small_run())
        assert one.run(job) == CONCLUDED, one.stderr()
        stopped = one.now(job)
        assert stopped.status == "stopped"
        assert stopped.status in RESUMABLE
        assert stopped.error is not None
        assert "no room" in str(stopped.error)
        assert stopped.calls > 0

        allow()
        one.store.requeue(job.job_id, None)
        assert one.run(job) == CONCLUDED, one.stderr()
        done = one.now(job)
        assert (done.status, done.calls) == ("succeeded", stopped.calls)
        assert one.paid_twice() == 0
