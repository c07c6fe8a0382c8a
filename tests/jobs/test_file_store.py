"""The files with which another machine goes on."""

import pytest
from store_help import queued, taken

from skill_fleet.jobs.database import Database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.store import JobStore


def test_files_come_back_byte_for_byte(database: Database) -> None:
    store, files = JobStore(database), FileStore(database)
    lease = taken(store, queued(store, "a"))
    contents = {"data.json": b"{}", "stages/1.json": bytes(range(256)) * 5000, "empty": b""}
    files.save(lease, contents)
    assert files.load("a") == contents
    files.save(lease, {"data.json": b"[]"})
    assert files.load("a") == contents | {"data.json": b"[]"}
    assert files.load("b") == files.load("\0") == {}


def test_of_files_saved_together_all_are_there_or_none(database: Database) -> None:
    store, files = JobStore(database), FileStore(database)
    lease = taken(store, queued(store, "a"))
    files.save(lease, {"a": b"old"})
    with pytest.raises(ValueError, match="no name of a file"):
        files.save(lease, {"a": b"new", "b\0": b"x"})
    with pytest.raises(Exception, match=r"."):
        files.save(lease, {"a": b"new", "b": object()})  # type: ignore[dict-item]
    assert files.load("a") == {"a": b"old"}


def test_the_next_holder_finds_what_the_last_one_saved(database: Database) -> None:
    store, files = JobStore(database), FileStore(database)
    job = queued(store, "a")
    files.save(taken(store, job), {"x": b"1"})
    files.save(taken(store, job), {"y": b"2"})
    assert files.load("a") == {"x": b"1", "y": b"2"}
