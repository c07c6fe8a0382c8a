"""The audit: who did what; and that nobody can fill the disk with it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from clocks import FakeClock
from skill_fleet.jobs.audit import Audit
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.tables import AUDIT


@pytest.fixture
def audit(database: Database, clock: FakeClock) -> Audit:
    return Audit(database, clock)


def test_lines_come_back_newest_first(audit: Audit) -> None:
    for number in range(7):
        audit.write("key" if number % 2 else None, "job_started", f"job-{number}\0", {"number": number})
    newest = audit.list(limit=3)
    rest = audit.list(before=newest[-1].number, limit=100)
    assert [line.data["number"] for line in newest + rest] == [6, 5, 4, 3, 2, 1, 0]
    assert (newest[0].key_id, newest[1].key_id) == ("local", "key")
    assert newest[0].subject == "job-6\ufffd"
    assert newest[0].at.endswith("+00:00")


def test_a_flood_of_refused_keys_is_ten_lines_a_minute(audit: Audit, clock: FakeClock) -> None:
    with ThreadPoolExecutor(8) as pool:
        written = sum(pool.map(lambda n: audit.refused(f"10.0.0.{n % 250}", "wrong"), range(500)))
    assert written == 10
    assert len(audit.list(limit=1000)) == 10
    clock.time += 61
    assert audit.refused("x" * 10_000, "y" * 10_000)
    last = audit.list(limit=1)[0]
    assert last.data["unwritten_before"] == 490
    assert len(last.subject) + len(last.data["why"]) <= 300
    assert audit.refused("a", "b")
    assert "unwritten_before" not in audit.list(limit=1)[0].data


def test_old_lines_are_forgotten(audit: Audit, database: Database) -> None:
    audit.write(None, "old")
    database.write(lambda db: db.execute(sa.update(AUDIT).values(at=AUDIT.c.at - 91 * 86_400)))
    audit.write(None, "new")
    assert audit.expire(90) == 1
    assert [line.action for line in audit.list()] == ["new"]
