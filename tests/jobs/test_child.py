"""The child's side of a job: what reaches the store, in what order, and what ends the process."""

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clocks import FakeClock
from skill_fleet.config.load import load
from skill_fleet.foundation.errors import IntegrityError, LeaseLost, StorageError
from skill_fleet.jobs.child import LOST, Child
from skill_fleet.jobs.child_files import ChangedFiles, restore
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.records import Lease, NewJob, Spending
from skill_fleet.jobs.store import JobStore

JOB = "20260101-000000-0123456789"


class Away(JobStore):
    """A store that is away when it is told to be."""

    away = False

    def append(self, lease: Lease, events: Any) -> int:
        self._check()
        return super().append(lease, events)

    def progress(self, lease: Lease, **told: Any) -> Any:
        self._check()
        return super().progress(lease, **told)

    def _check(self) -> None:
        if self.away:
            raise StorageError("The database is away.")


@pytest.fixture
def embedded(workspace: Path) -> Iterator[Database]:
    found = open_database(load(workspace, environ={}).workspace, None)
    prepare_database(found, queue=False)
    yield found
    found.engine.dispose()


@pytest.fixture
def store(embedded: Database) -> Away:
    made = Away(embedded)
    made.create(NewJob(JOB, "optimization", {}))
    return made


def _lease(store: JobStore) -> Lease:
    lease = store.claim(JOB, 1, "worker")
    assert isinstance(lease, Lease)
    return lease


def _told(store: JobStore) -> list[tuple[str, Mapping[str, Any]]]:
    return [(event.kind, event.data) for event in store.events(JOB) if event.kind == "round"]


def test_a_store_that_was_away_gets_everything_once_and_in_order(store: Away, embedded: Database) -> None:
    child = Child(store, FileStore(embedded), _lease(store))
    child.event("round", {"round": 1})
    store.away = True
    child.event("round", {"round": 2})
    child.event("round", {"round": 3})
    child.show(0.5, "Half.")
    assert child.ask() is None
    store.away = False
    child.event("round", {"round": 4})
    assert [data["round"] for _, data in _told(store)] == [1, 2, 3, 4]
    found = store.get(JOB)
    assert (found.progress, found.message) == (0.5, "Half.")


def test_who_lost_the_job_writes_nothing_and_leaves(store: Away, embedded: Database) -> None:
    left: list[int] = []
    left_at = threading.Event()

    def leave(code: int) -> None:
        left.append(code)
        left_at.set()

    stopped: list[str] = []
    child = Child(store, FileStore(embedded), _lease(store), leave=leave)
    child.on_stop(lambda: stopped.append("stopped"))
    other = store.claim(JOB, 1, "other")
    with pytest.raises(LeaseLost):
        child.event("round", {"round": 1})
    with pytest.raises(LeaseLost):
        child.conclude("succeeded", result={"mine": True})
    assert isinstance(other, Lease)
    assert (child.lost, stopped, _told(store)) == (True, ["stopped"], [])
    assert store.get(JOB).result is None
    left_at.wait(60.0)
    assert left == [LOST]


def test_what_is_wanted_stops_the_work_also_when_it_was_said_before_the_work_began(
    store: Away, embedded: Database
) -> None:
    child = Child(store, FileStore(embedded), _lease(store))
    store.want(JOB, "paused", None)
    assert child.ask() == "paused"
    stopped: list[int] = []
    child.on_stop(lambda: stopped.append(1))
    assert (stopped, child.reason) == ([1], "wanted")
    child.conclude("paused", message="Paused.")
    assert store.get(JOB).status == "paused"
    child.write()  # after the end nothing is said any more
    assert not child.lost


def test_what_was_spent_is_exact_in_the_end(store: Away, embedded: Database) -> None:
    child = Child(store, FileStore(embedded), _lease(store))
    spent = [Spending(1, 0.5, 0)]
    child.spend(lambda: spent[0])
    child.show(0.1, "One call.")
    child.write()
    spent[0] = Spending(9, 4.5, 2)
    child.conclude("stopped", error={"code": "budget", "message": "Enough.", "hint": ""})
    found = store.get(JOB)
    assert (found.calls, found.usd, found.usd_unknown_calls) == (9, 4.5, 2)


def test_a_job_that_shows_nothing_still_says_that_it_makes_calls(store: Away, embedded: Database) -> None:
    clock = FakeClock()
    child = Child(store, FileStore(embedded), _lease(store), clock=clock)
    spent = [Spending(1, 0.0, 0)]
    child.spend(lambda: spent[0])
    child.write()
    assert store.get(JOB).calls == 1
    spent[0] = Spending(2, 0.0, 0)
    clock.sleep(5.0)
    child.write()
    assert store.get(JOB).calls == 1, "a look at every attempt of a long run is not for every beat"
    clock.sleep(16.0)
    before = store.look(child.lease)
    child.write()
    assert store.get(JOB).calls == 2
    assert store.look(child.lease).changes > before.changes


def test_files_go_with_the_events_and_only_what_changed(
    store: Away, embedded: Database, tmp_path: Path
) -> None:
    files = FileStore(embedded)
    child = Child(store, files, _lease(store))
    folder = tmp_path / "run"
    (folder / "folds" / "001").mkdir(parents=True)
    (folder / "data.json").write_text("[1]")
    (folder / "folds" / "001" / "set_aside.json").write_text("[]")
    (folder / "lock").write_text("")
    (folder / "optimizer.log").write_text("x" * 1000)
    child.keep(folder)
    child.event("started", {})
    assert set(files.load(JOB)) == {"data.json", "folds/001/set_aside.json"}
    (folder / "data.json").write_text("[1, 2]")
    child.event("round", {"round": 1})
    assert files.load(JOB)["data.json"] == b"[1, 2]"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    child.restore(elsewhere)
    assert (elsewhere / "folds" / "001" / "set_aside.json").read_text() == "[]"


def test_only_what_changed_is_taken_and_what_did_not_arrive_again(tmp_path: Path) -> None:
    changed = ChangedFiles(tmp_path)
    (tmp_path / "a.json").write_text("1")
    assert changed.take() == {"a.json": b"1"}
    assert changed.take() == {}
    changed.forget()
    assert changed.take() == {"a.json": b"1"}


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.json", "a/../../up.json", "a\\b", "a\0b", ""])
def test_no_file_is_restored_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(IntegrityError):
        restore(tmp_path / "run", {name: b"x"})
    assert not (tmp_path / "up.json").exists()


def test_the_longer_stream_of_one_history_is_kept_and_another_history_is_replaced(tmp_path: Path) -> None:
    lines = [json.dumps({"n": number}).encode() + b"\n" for number in range(3)]
    stream = tmp_path / "events.jsonl"
    stream.write_bytes(b"".join(lines))
    restore(tmp_path, {"events.jsonl": lines[0] + lines[1]})
    assert stream.read_bytes() == b"".join(lines)
    restore(tmp_path, {"events.jsonl": b"another\n"})
    assert stream.read_bytes() == b"another\n"
