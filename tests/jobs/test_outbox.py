"""Events over connections that break: each arrives once."""

from collections.abc import Callable
from typing import Any

import pytest
from store_help import queued, taken

from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.outbox import Outbox
from skill_fleet.jobs.records import Lease
from skill_fleet.jobs.store import JobStore


class Breaking(JobStore):
    """Its connection breaks: before the commit, after it, or not at all; and it may stay away for readers."""

    breaks = ""
    away = False

    def append(self, lease: Lease, events: Any) -> int:
        if self.breaks == "before":
            raise StorageError("The connection broke.")
        number = super().append(lease, events)
        if self.breaks == "after":
            raise StorageError("The connection broke.")
        return number

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> Any:
        if self.away:
            raise StorageError("The connection broke.")
        return super().events(job_id, after, limit)


@pytest.fixture
def store(database: Database) -> Breaking:
    return Breaking(database)


def told(store: Breaking, job_id: str) -> list[Any]:
    return [event.data["n"] for event in store.events(job_id) if event.kind == "round"]


def fails(send: Callable[[], Any]) -> None:
    with pytest.raises(StorageError):
        send()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("breaks", ["before", "after"])
def test_a_batch_arrives_once_wherever_its_connection_broke(
    store: Breaking, breaks: str, *, first: bool
) -> None:
    job = queued(store)
    box = Outbox(store, taken(store, job))
    if not first:
        box.put("round", {"n": 0, "share": float("nan")})
        box.send()
    box.put("round", {"n": 1, "text": "a\0b"})
    box.put("round", {"n": 2})
    store.breaks = breaks
    fails(box.send)
    box.put("round", {"n": 3})
    store.breaks, store.away = "", True
    fails(box.send)
    store.away = False
    store.note(job.job_id, "asked", {"wanted": "paused"})
    assert box.send()
    assert not box.send()
    assert told(store, job.job_id) == [*([] if first else [0]), 1, 2, 3]


def test_it_breaks_after_each_commit(store: Breaking) -> None:
    job = queued(store)
    box = Outbox(store, taken(store, job))
    store.breaks = "after"
    for number in range(4):
        box.put("round", {"n": number})
        fails(box.send)
    assert told(store, job.job_id) == [0, 1, 2, 3]


def test_what_an_earlier_holder_told_in_the_same_words_is_another_event(store: Breaking) -> None:
    job = queued(store)
    store.append(taken(store, job), [("round", {"n": 1})])
    box = Outbox(store, taken(store, job))
    box.put("round", {"n": 1})
    store.breaks = "before"
    fails(box.send)
    store.breaks = ""
    box.send()
    assert told(store, job.job_id) == [1, 1]
