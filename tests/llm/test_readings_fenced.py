"""Readings of sealed tests in the database: who lost the job to another process counts none."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from skill_fleet.foundation.errors import LeaseLost
from skill_fleet.llm.journal.database_engine import postgres_engine


def test_only_the_holder_of_the_job_counts(database: Any) -> None:
    first = database.take_up("job")
    assert database.readings(first).count("t", "a") == 1
    second = database.take_up("job")
    with pytest.raises(LeaseLost, match="is not this process's any more"):
        database.readings(first).count("t", "b")
    assert database.readings(second).count("t", "c") == 2
    with pytest.raises(LeaseLost):
        database.readings(first).count("t", "a")
    assert database.rows("select reader from skill_fleet.test_reading order by number") == [("a",), ("c",)]


def test_a_job_that_is_over_counts_nothing_more(database: Any) -> None:
    lease = database.take_up("job")
    database.rows("delete from skill_fleet.lease")
    with pytest.raises(LeaseLost):
        database.readings(lease).count("t", "a")
    assert database.rows("select * from skill_fleet.test_reading") == []


def test_a_taking_up_that_is_under_way_is_waited_for(database: Any) -> None:
    lease = database.take_up("job")
    engine = postgres_engine(database.url)
    found: list[object] = []

    def count() -> None:
        try:
            found.append(database.readings(lease).count("t", "a"))
        except LeaseLost as lost:
            found.append(lost)

    thread = threading.Thread(target=count)
    with engine.begin() as other:
        other.execute(sa.text("update skill_fleet.lease set fence = fence + 1"))
        thread.start()
        waits = sa.text("select 1 from pg_stat_activity where wait_event_type = 'Lock' and state = 'active'")
        while not database.rows(str(waits)):
            assert not found, "it did not wait"
    thread.join(20)
    engine.dispose()
    assert [type(one) for one in found] == [LeaseLost]
    assert database.rows("select * from skill_fleet.test_reading") == []
