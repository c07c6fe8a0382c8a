"""The stream of a job's events: no gap, no repeat, no change, whatever is written and by how many."""

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_help import Processes, queued, taken

from skill_fleet.foundation.errors import NotFound, SkillFleetError
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import Lease
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import JOB_EVENT

WRITERS = 8
TEXT = st.text(st.characters(), max_size=20)  # halves of surrogate pairs and NUL are among them
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def numbers(store: JobStore, job_id: str) -> list[int]:
    return [event.number for event in store.events(job_id, limit=100_000)]


def test_eight_writers_leave_no_gap_and_no_repeat(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))

    def write(writer: int) -> list[int]:
        got = []
        for turn in range(12):
            if writer % 2:
                got.append(store.note("a", "note", {"writer": writer, "turn": turn}))
            else:
                last = store.append(
                    lease, [("line", {"writer": writer, "turn": turn, "part": p}) for p in (0, 1)]
                )
                got += [last - 1, last]
        return got

    with ThreadPoolExecutor(WRITERS) as pool:
        told = [number for writer in pool.map(write, range(WRITERS)) for number in writer]
    assert sorted(told) == list(range(3, 3 + len(told))), "each number was told to one writer"
    assert numbers(store, "a") == list(range(1, 3 + len(told)))
    for writer in range(WRITERS):
        own = [
            event.data["turn"]
            for event in store.events("a", limit=10_000)
            if event.data.get("writer") == writer
        ]
        assert own == sorted(own), "what one writer wrote stands in its order"


def test_two_processes_leave_no_gap(database: Database, workspace: Path, processes: Processes) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    task = {"do": "append", "job": "a", "fence": lease.fence}
    answers = processes.at_once(database, workspace, [task | {"worker": name} for name in "ab"])
    assert sorted(answers[0] + answers[1]) == list(range(5, 62 + 1, 3))
    assert numbers(store, "a") == list(range(1, 63))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(TEXT, st.dictionaries(TEXT, JSON, max_size=3)), max_size=3), max_size=6
    )
)
def test_whatever_is_written_comes_back_in_order(
    database: Database, batches: list[list[tuple[str, dict]]]
) -> None:
    store = JobStore(database)
    job_id = f"j{time.monotonic_ns()}"
    lease = taken(store, queued(store, job_id))
    expected = []
    for batch in batches:
        last = store.append(lease, batch)
        expected += batch
        assert last == 2 + len(expected)
    events = store.events(job_id, after=2)
    assert [event.number for event in events] == list(range(3, 3 + len(expected)))
    assert [dict(event.data) for event in events] == [data for _, data in expected]
    for event, (kind, _) in zip(events, expected, strict=True):
        assert len(event.kind) == len(kind)


def test_a_megabyte_and_odd_characters_are_fine(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    data = {"big": "ü\0" * 500_000, "half": "\ud83d", "nan": float("nan"), "key\0": [{"\udfff": None}]}
    store.append(lease, [("big", data)])
    found = dict(store.events("a", after=2)[0].data)
    assert found == data | {"nan": None}


def test_reading_goes_on_after_a_number(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.append(lease, [("line", {"n": n}) for n in range(20)])
    seen: list[int] = []
    while more := store.events("a", after=seen[-1] if seen else 0, limit=7):
        assert len(more) <= 7
        seen += [event.number for event in more]
    assert seen == list(range(1, 23))
    assert store.events("a", after=10**18) == []
    assert len(store.events("a", after=-5, limit=3)) == 3


@pytest.mark.parametrize(
    "statement",
    [
        sa.update(JOB_EVENT).values(kind="changed"),
        sa.update(JOB_EVENT).values(number=JOB_EVENT.c.number + 10),
        sa.delete(JOB_EVENT),
        sa.delete(JOB_EVENT).where(JOB_EVENT.c.number == 1),
    ],
    ids=["change", "renumber", "delete all", "delete one"],
)
def test_the_database_itself_refuses_to_change_what_happened(
    database: Database, statement: sa.Executable
) -> None:
    store = JobStore(database)
    queued(store, "a")
    before = store.events("a")
    with pytest.raises(SkillFleetError, match="events of a job are"):
        database.write(lambda db: db.execute(statement))
    assert store.events("a") == before


def test_an_event_of_no_job_is_refused(database: Database) -> None:
    store = JobStore(database)
    with pytest.raises(NotFound):
        store.note("never", "x", {})
    row = {"job_id": "never", "number": 1, "at": 0.0, "kind": "x", "data": "{}"}
    with pytest.raises(SkillFleetError):
        database.write(lambda db: db.execute(JOB_EVENT.insert().values(row)))


def test_times_are_the_databases_in_utc(database: Database) -> None:
    store = JobStore(database)
    queued(store, "a")
    at = dt.datetime.fromisoformat(store.events("a")[0].at)
    assert at.utcoffset() == dt.timedelta(0)
    assert abs(at.timestamp() - time.time()) < 600


def test_a_failed_write_uses_no_number(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    with pytest.raises(TypeError):
        store.append(lease, [("good", {}), ("bad", {"x": object()})])
    assert store.append(Lease("a", 1, "worker-1"), [("good", {})]) == 3
