"""Workers: alive, stopped or dead, by the database's clock and never by their own."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_help import Processes

from skill_fleet.foundation.errors import SkillFleetError
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.tables import WORKER, database_now
from skill_fleet.jobs.worker_store import WorkerStore


@pytest.fixture
def workers(database: Database) -> WorkerStore:
    return WorkerStore(database)


def register(workers: WorkerStore, *names: str) -> None:
    for name in names:
        workers.register(name, host="h\0ost", pid=2**40, version="1")


def silent_since(workers: WorkerStore, worker_id: str, seconds: float) -> None:
    statement = sa.update(WORKER).where(WORKER.c.worker_id == worker_id)
    workers.database.write(lambda db: db.execute(statement.values(heartbeat_at=database_now() - seconds)))


def states(workers: WorkerStore) -> dict[str, str]:
    return {worker.worker_id: worker.state for worker in workers.list()}


def test_a_worker_is_alive_as_long_as_it_beats(workers: WorkerStore) -> None:
    register(workers, "a", "b")
    silent_since(workers, "a", 100)
    silent_since(workers, "b", 100)
    assert workers.beat("b")
    assert workers.declare_dead(15) == ["a"]
    assert workers.declare_dead(15) == [], "told once"
    assert states(workers) == {"a": "dead", "b": "alive"}
    assert not workers.beat("a"), "who was declared dead learns it"
    assert states(workers)["a"] == "dead"
    assert not workers.beat("never registered")


def test_the_row_tells_who_it_is(workers: WorkerStore) -> None:
    register(workers, "a")
    [worker] = workers.list()
    assert (worker.host, worker.pid, worker.version) == ("h\ufffdost", 2**40, "1")
    assert abs(worker.started_at - time.time()) < 600
    assert worker.heartbeat_at >= worker.started_at - 0.01


def test_an_id_is_used_once(workers: WorkerStore) -> None:
    register(workers, "a")
    with pytest.raises(SkillFleetError):
        register(workers, "a")


def test_goodbye_is_no_death_and_no_resurrection(workers: WorkerStore) -> None:
    register(workers, "a", "b")
    workers.say_goodbye("a")
    silent_since(workers, "a", 100)
    silent_since(workers, "b", 100)
    assert workers.declare_dead(15) == ["b"]
    workers.say_goodbye("b")
    assert states(workers) == {"a": "stopped", "b": "dead"}
    assert not workers.beat("a")


def test_the_only_worker_declares_all_others_dead(workers: WorkerStore) -> None:
    register(workers, "a", "b", "me")
    workers.say_goodbye("a")
    assert workers.declare_others_dead("me") == ["b"]
    assert states(workers) == {"a": "stopped", "b": "dead", "me": "alive"}


def test_the_gone_are_forgotten_but_never_the_living(workers: WorkerStore) -> None:
    register(workers, "a", "b")
    workers.say_goodbye("a")
    for name in ("a", "b", "never"):
        workers.gone(name)
    assert states(workers) == {"b": "alive"}


def test_silence_is_measured_by_the_database(workers: WorkerStore) -> None:
    register(workers, "a")
    silent_since(workers, "a", 40)
    silence = workers.silent_for("a")
    assert silence is not None
    assert 40 <= silence < 640
    assert workers.silent_for("never") is None


def test_of_two_that_look_at_once_one_finds_each_dead_worker(
    database: Database, workspace: Path, processes: Processes
) -> None:
    workers = WorkerStore(database)
    names = [f"w{number:02}" for number in range(20)]
    register(workers, *names)
    for name in names:
        silent_since(workers, name, 100)
    first, second = processes.at_once(database, workspace, [{"do": "declare"}] * 2)
    assert sorted(first + second) == names
